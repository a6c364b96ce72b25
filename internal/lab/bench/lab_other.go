//go:build !linux

package main

import (
	"context"
	"errors"
	"io"
)

var errNoLab = errors.New("the lab needs root on Linux")

func benchLab(context.Context, io.Writer) error { return errNoLab }

func benchHealth(context.Context, io.Writer) error { return errNoLab }

func benchEdge(context.Context, io.Writer) error { return errNoLab }

func benchImage(context.Context, io.Writer) error { return errNoLab }

func benchDatabase(context.Context, io.Writer) error { return errNoLab }

func benchFiles(context.Context, io.Writer) error { return errNoLab }

func benchMesh(context.Context, io.Writer) error { return errNoLab }

func benchProbes(context.Context, io.Writer) error { return errNoLab }
