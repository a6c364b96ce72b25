//go:build !linux

package worker

import (
	"context"
	"errors"
	"os/exec"
	"syscall"
)

// process has no meaning on a system that nodes do not run.
type process struct {
	PID int `json:"pid"`
}

func identify(int) (*process, error) { return nil, errors.ErrUnsupported }

func (*process) end(context.Context) error { return errors.ErrUnsupported }

func startAs(*exec.Cmd, Account) (func() error, error) { return nil, errors.ErrUnsupported }

func killGroup(int, bool) error { return errors.ErrUnsupported }

func peerOf(syscall.RawConn) (int, error) { return 0, errors.ErrUnsupported }
