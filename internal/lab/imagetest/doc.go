// Package imagetest holds the end-to-end tests of the built node image: virtual machines boot it as users' machines do, and
// join a cluster by every way there is. They need root on Linux, an image (make image), and run only when ATOLL_E2E names
// the program, terraform or tofu, that they are to use:
//
//	sudo ATOLL_E2E=terraform go test -v ./internal/lab/imagetest
//
// ATOLL_IMAGE is the path of the image's manifest when it is not the newest that was built here. Without KVM the
// machines want a processor each, and the cluster with its database half an hour.
package imagetest
