// Package provisiontest holds the test of the node image's description (images/node) without a virtual machine: its scripts turn a
// root file system into a node in a chroot, with each database engine and from a snapshot of the archive. It needs root on Linux,
// takes a minute or two and fetches some hundred MB of Debian packages, so that it runs only together with the other tests of the
// image, when ATOLL_E2E is set:
//
//	sudo ATOLL_E2E=terraform go test -v ./internal/lab/provisiontest
package provisiontest
