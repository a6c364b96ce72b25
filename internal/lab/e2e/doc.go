// Package e2e holds the end-to-end tests: they start a lab, run Terraform or OpenTofu in it as an operator would, break
// things, and look at what nodes, agents and commands then say. They need root on Linux and run only when ATOLL_E2E names
// the program, terraform or tofu, that they are to use:
//
//	sudo ATOLL_E2E=terraform go test -v ./internal/lab/e2e
//
// ATOLL_E2E_FURTHER, set to anything, leaves out what no engine has a part in, for the second program of a run.
//
// A single scenario needs the first one: -run 'TestThreeSite/(apply_brings|no_secret)'.
package e2e
