//go:build !linux

package worker

import "errors"

func mounts(string) ([]string, error) { return nil, errors.ErrUnsupported }

func freeze(string) error { return errors.ErrUnsupported }
