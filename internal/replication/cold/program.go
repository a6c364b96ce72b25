package cold

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"strconv"
)

const (
	// ProgramName is the name under which this program is the side of a node, with the rights of whoever starts it.
	ProgramName = "atoll-cold"
	// PipeName is the name under which this program is what rsync starts to reach the other node: see Pipe.
	PipeName = "atoll-cold-pipe"
	// configVariable has the configuration in the program's environment, listenVariable the number of the socket that it answers at.
	configVariable = "ATOLL_COLD_CONFIG"
	listenVariable = "ATOLL_COLD_SOCKET"
	// pipeSocket says in the environment where Pipe finds the stream.
	pipeSocket = "ATOLL_COLD_STREAM"
)

// Programs returns what this program is under other names.
func Programs() map[string]func(context.Context) error {
	return map[string]func(context.Context) error{ProgramName: program, PipeName: Pipe}
}

// Environment returns what the program ProgramName needs in its environment to answer, as the side that cfg describes, at a listening socket that it
// inherits under that number.
func Environment(cfg Config, socket int) ([]string, error) {
	text, err := json.Marshal(cfg)
	if err != nil {
		return nil, err
	}
	return []string{
		configVariable + "=" + string(text), listenVariable + "=" + strconv.Itoa(socket),
		"LC_ALL=C", "PATH=/usr/local/bin:/usr/bin:/bin", "HOME=" + cfg.RunDir,
	}, nil
}

func program(ctx context.Context) error {
	var cfg Config
	if err := json.Unmarshal([]byte(os.Getenv(configVariable)), &cfg); err != nil {
		return fmt.Errorf("read %s: %w", configVariable, err)
	}
	fd, err := strconv.Atoi(os.Getenv(listenVariable))
	if err != nil {
		return fmt.Errorf("read %s: %w", listenVariable, err)
	}
	listener, err := net.FileListener(os.NewFile(uintptr(fd), "socket"))
	if err != nil {
		return err
	}
	log := slog.New(slog.NewTextHandler(os.Stderr, nil))
	// What an earlier one has started may live for a moment longer, and works in the same places.
	lock, err := lockFile(ctx, filepath.Join(cfg.RunDir, "lock"))
	if err != nil {
		return err
	}
	defer func() { _ = lock.Close() }()
	side, err := open(cfg, lock, log)
	if err != nil {
		return err
	}
	server := &http.Server{Handler: NewHandler(side, log), ReadHeaderTimeout: readHeaderWithin, BaseContext: func(net.Listener) context.Context { return ctx }}
	stop := context.AfterFunc(ctx, func() { _ = server.Close() })
	defer stop()
	if err := server.Serve(listener); !errors.Is(err, http.ErrServerClosed) {
		return err
	}
	return nil
}

// Pipe joins a program's input and output with the stream that a run of rsync has been given.
func Pipe(ctx context.Context) error {
	var dialer net.Dialer
	conn, err := dialer.DialContext(ctx, "unix", os.Getenv(pipeSocket))
	if err != nil {
		return err
	}
	defer func() { _ = conn.Close() }()
	go func() {
		_, _ = io.Copy(conn, os.Stdin) // rsync sees how its stream ends
		if c, ok := conn.(*net.UnixConn); ok {
			_ = c.CloseWrite()
		}
	}()
	_, err = io.Copy(os.Stdout, conn)
	return err
}
