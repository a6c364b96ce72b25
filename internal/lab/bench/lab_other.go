//go:build !linux

package main

import (
	"context"
	"errors"
	"io"
)

func benchLab(context.Context, io.Writer) error { return errors.New("the lab needs root on Linux") }
