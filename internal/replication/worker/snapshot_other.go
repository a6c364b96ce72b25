//go:build !linux

package worker

import "errors"

func sameFileSystem(string, string) (bool, error) { return false, errors.ErrUnsupported }

func onlyOurs(string) bool { return false }
