//go:build !linux

package cold

import (
	"context"
	"errors"
	"log/slog"
	"os"
)

var errUnsupported = errors.New("directories are moved on Linux only")

func open(Config, *os.File, *slog.Logger) (Side, error) { return nil, errUnsupported }

func lockFile(context.Context, string) (*os.File, error) { return nil, errUnsupported }
