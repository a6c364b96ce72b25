//go:build !linux

package platform

import "os"

// openDevice is not needed here: only agents look at devices, and they run on Linux.
func openDevice(path string) (*os.File, error) { return os.Open(path) }
