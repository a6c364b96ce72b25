// Package e2e holds the end-to-end tests: they start a lab, run Terraform or OpenTofu in it as an operator would, break
// things, and look at what nodes, agents and commands then say. They need root on Linux and run only when ATOLL_E2E names
// the program, terraform or tofu, that they are to use:
//
//	sudo ATOLL_E2E=terraform go test -v ./internal/lab/e2e
//
// ATOLL_E2E_KEEP=1 leaves a failed run's lab up until the test is interrupted.
package e2e
