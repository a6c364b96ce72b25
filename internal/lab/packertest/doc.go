// Package packertest holds the end-to-end test of images/linode: a real Packer builds a node image through the lab's Linode
// API, whose instances are virtual machines, and the image is checked, uploaded to a lab and booted there. It needs root on
// Linux and takes some ten minutes on two processors. It runs only when ATOLL_E2E names the program, terraform or tofu, that
// it is to use:
//
//	sudo ATOLL_E2E=terraform go test -v -timeout 40m ./internal/lab/packertest
package packertest
