// Atoll-demo is the little application of the demo: it says which node it is on, and lets visitors log in. See package demo.
package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"os/signal"
	"strings"
	"syscall"
	"time"

	"github.com/atollhq/terraform-provider-atoll/internal/lab/demo"
)

// leastKey is how long the key that signs sessions must be, in bytes.
const leastKey = 16

func main() {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	err := run(ctx, os.Args[1:], os.Stderr)
	stop()
	switch {
	case err == nil || errors.Is(err, flag.ErrHelp):
	case errors.Is(err, errUsage):
		fmt.Fprintln(os.Stderr, demo.Program+":", err)
		os.Exit(2)
	default:
		fmt.Fprintln(os.Stderr, demo.Program+":", err)
		os.Exit(1)
	}
}

// errUsage marks what the caller typed wrong.
var errUsage = errors.New("wrong usage")

// run serves until ctx ends.
func run(ctx context.Context, args []string, messages io.Writer) error {
	flags := flag.NewFlagSet(demo.Program, flag.ContinueOnError)
	flags.SetOutput(messages)
	listen := flags.String("listen", fmt.Sprintf(":%d", demo.Port), "`address` to listen on")
	keyFile := flags.String("key-file", "", "`file` with what signs sessions, the same on all nodes")
	node := flags.String("node", "", "`name` of this node (default: the machine's)")
	passwordFile := flags.String("database-password-file", "", "`file` with the password of the database's user: notes are kept at 127.0.0.1:6446; none are when it is empty")
	unready := flags.String("unready-file", "", "`file` that makes it say that it is unwell while it exists")
	if err := flags.Parse(args); err != nil {
		if errors.Is(err, flag.ErrHelp) {
			return err
		}
		return fmt.Errorf("%w: %w", errUsage, err)
	}
	if *keyFile == "" || flags.NArg() > 0 {
		return fmt.Errorf("%w: it takes --key-file and no arguments; see --help", errUsage)
	}
	key, err := os.ReadFile(*keyFile)
	if err != nil {
		return fmt.Errorf("read the key: %w", err)
	}
	if len(key) < leastKey {
		return fmt.Errorf("%s holds %d bytes, a key takes %d or more", *keyFile, len(key), leastKey)
	}
	if *node == "" {
		name, err := os.Hostname()
		if err != nil {
			return fmt.Errorf("find this machine's name: %w", err)
		}
		*node, _, _ = strings.Cut(name, ".")
	}
	app := &demo.App{Node: *node, Sessions: demo.Sessions{Key: key}}
	if *passwordFile != "" {
		password, err := os.ReadFile(*passwordFile)
		if err != nil {
			return fmt.Errorf("read the database's password: %w", err)
		}
		if text := strings.TrimSpace(string(password)); text != "" {
			if app.Notes, err = demo.OpenNotes(text); err != nil {
				return err
			}
			defer func() { _ = app.Notes.Close() }()
		}
	}
	if *unready != "" {
		app.Unwell = func() string {
			if _, err := os.Stat(*unready); err != nil {
				return ""
			}
			return *unready + " is there"
		}
	}
	listener, err := (&net.ListenConfig{}).Listen(ctx, "tcp", *listen)
	if err != nil {
		return fmt.Errorf("listen: %w", err)
	}
	return serve(ctx, listener, app.Handler())
}

// farewell is how long requests that are under way may take when the application is stopped.
const farewell = 5 * time.Second

func serve(ctx context.Context, listener net.Listener, handler http.Handler) error {
	server := &http.Server{Handler: handler, ReadHeaderTimeout: 10 * time.Second, IdleTimeout: 2 * time.Minute}
	ended := make(chan error, 1)
	go func() { ended <- server.Serve(listener) }()
	select {
	case err := <-ended:
		return err
	case <-ctx.Done():
	}
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), farewell)
	defer cancel()
	if err := server.Shutdown(ctx); err != nil {
		return server.Close()
	}
	return nil
}
