//go:build !linux

package smallfiles

import "errors"

// TargetError is a directory that cannot be used.
type TargetError struct{ Path, Reason string }

// Error names the directory and the reason.
func (e *TargetError) Error() string { return "directory " + e.Path + ": " + e.Reason }

// target has no meaning on a system that nodes do not run.
type target struct{ place Place }

func openTarget(path string, _ bool) (*target, error) {
	return nil, &TargetError{path, "small files are measured on Linux only"}
}

func (*target) begin() (string, error) { return "", errors.ErrUnsupported }

func (*target) end() error { return errors.ErrUnsupported }

func (*target) close() error { return errors.ErrUnsupported }

func (*target) room(*fixture) error { return errors.ErrUnsupported }

func plainDirectory() (string, error) { return "", errors.ErrUnsupported }

func syncAll(string) error { return errors.ErrUnsupported }

func syncOne(string) error { return errors.ErrUnsupported }

func dropCaches() error { return errors.ErrUnsupported }
