//go:build !linux

package main

import (
	"fmt"
	"os"
)

func main() {
	fmt.Fprintln(os.Stderr, "atoll-lab: the lab is made of Linux network namespaces and containers: run it on Linux")
	os.Exit(1)
}
