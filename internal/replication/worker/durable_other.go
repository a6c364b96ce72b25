//go:build !linux

package worker

import "errors"

func syncFileSystem(string) error { return errors.ErrUnsupported }

func bootID() (string, error) { return "", errors.ErrUnsupported }
