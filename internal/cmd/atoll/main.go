// Command atoll is the operator's program: it makes signing keys and tickets and shows how a cluster is.
package main

import (
	"context"
	"os"
	"os/signal"
	"syscall"

	"github.com/atollhq/terraform-provider-atoll/internal/cmd/atoll/cli"
)

// version is set by the linker.
var version = "dev"

func main() {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	code := cli.Run(ctx, cli.Environment{
		Args: os.Args[1:], Stdin: os.Stdin, Stdout: os.Stdout, Stderr: os.Stderr, Getenv: os.Getenv, Version: version,
	})
	stop()
	os.Exit(code)
}
