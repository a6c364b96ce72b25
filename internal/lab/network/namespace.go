//go:build linux

package network

import (
	"context"
	"errors"
	"fmt"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"strings"

	"github.com/vishvananda/netlink"
	"github.com/vishvananda/netns"
)

// namespaces is where iproute2 keeps named network namespaces; `ip netns` lists what is here.
const namespaces = "/run/netns"

// Namespace is one named network namespace of this machine, as `ip netns` lists it.
type Namespace string

// Path is the file that nsenter, systemd-nspawn and setns accept.
func (n Namespace) Path() string { return filepath.Join(namespaces, string(n)) }

// Exists says whether the namespace is there.
func (n Namespace) Exists() bool {
	_, err := os.Lstat(n.Path())
	return err == nil
}

// create makes the namespace; iproute2 does it because it also takes care of mount propagation of its folder.
func (n Namespace) create(ctx context.Context) error {
	return run(ctx, "", "ip", "netns", "add", string(n))
}

// remove deletes the namespace; one that is not there is fine.
func (n Namespace) remove(ctx context.Context) error {
	if !n.Exists() {
		return nil
	}
	return run(ctx, "", "ip", "netns", "delete", string(n))
}

// Do runs f on a thread inside the namespace. Sockets that f opens stay in the namespace afterwards.
func (n Namespace) Do(f func() error) error {
	done := make(chan error, 1)
	go func() {
		runtime.LockOSThread()
		back, err := n.enter()
		if err == nil {
			err = f()
			if back() == nil {
				// Only a thread that is back home may run other goroutines; any other dies with this one.
				runtime.UnlockOSThread()
			}
		}
		done <- err
	}()
	return <-done
}

// enter moves the current thread into the namespace; back returns it.
func (n Namespace) enter() (back func() error, err error) {
	home, err := netns.Get()
	if err != nil {
		return nil, fmt.Errorf("remember the network namespace: %w", err)
	}
	target, err := netns.GetFromPath(n.Path())
	if err != nil {
		return nil, errors.Join(fmt.Errorf("open network namespace %s: %w", n, err), home.Close())
	}
	defer func() { _ = target.Close() }()
	if err := netns.Set(target); err != nil {
		return nil, errors.Join(fmt.Errorf("enter network namespace %s: %w", n, err), home.Close())
	}
	return func() error {
		defer func() { _ = home.Close() }()
		return netns.Set(home)
	}, nil
}

// Listen announces on an address inside the namespace.
func (n Namespace) Listen(ctx context.Context, network, address string) (net.Listener, error) {
	var l net.Listener
	err := n.Do(func() error {
		var err error
		l, err = (&net.ListenConfig{}).Listen(ctx, network, address)
		return err
	})
	if err != nil {
		return nil, fmt.Errorf("listen in %s: %w", n, err)
	}
	return l, nil
}

// Dial connects from inside the namespace; the address must be literal, since nothing resolves names there.
func (n Namespace) Dial(ctx context.Context, network, address string) (net.Conn, error) {
	var c net.Conn
	err := n.Do(func() error {
		var err error
		c, err = (&net.Dialer{}).DialContext(ctx, network, address)
		return err
	})
	if err != nil {
		return nil, fmt.Errorf("dial from %s: %w", n, err)
	}
	return c, nil
}

// Command prepares a command that will run inside the namespace with this process's environment and files.
func (n Namespace) Command(ctx context.Context, argv ...string) *exec.Cmd {
	return exec.CommandContext(ctx, "nsenter", append([]string{"--net=" + n.Path(), "--"}, argv...)...)
}

// netlink opens a handle that configures links, addresses and routes inside the namespace.
func (n Namespace) netlink() (*netlink.Handle, func(), error) {
	ns, err := netns.GetFromPath(n.Path())
	if err != nil {
		return nil, nil, fmt.Errorf("open network namespace %s: %w", n, err)
	}
	h, err := netlink.NewHandleAt(ns)
	if err != nil {
		_ = ns.Close()
		return nil, nil, fmt.Errorf("open netlink in %s: %w", n, err)
	}
	return h, func() { h.Close(); _ = ns.Close() }, nil
}

// sysctl sets kernel parameters below /proc/sys/net of the namespace. Keys that this kernel lacks are skipped: a kernel
// without IPv6 still makes a working lab.
func (n Namespace) sysctl(values map[string]string) error {
	return n.Do(func() error {
		var errs []error
		for key, value := range values {
			err := os.WriteFile(filepath.Join("/proc/sys/net", key), []byte(value), 0o600)
			if err != nil && !errors.Is(err, os.ErrNotExist) {
				errs = append(errs, err)
			}
		}
		return errors.Join(errs...)
	})
}

// run executes a command with standard input and returns its complaint as the error.
func run(ctx context.Context, stdin, name string, args ...string) error {
	return finish(exec.CommandContext(ctx, name, args...), stdin)
}

func finish(cmd *exec.Cmd, stdin string) error {
	if stdin != "" {
		cmd.Stdin = strings.NewReader(stdin)
	}
	out, err := cmd.CombinedOutput()
	if err != nil {
		return fmt.Errorf("%s: %w: %s", strings.Join(cmd.Args, " "), err, strings.TrimSpace(string(out)))
	}
	return nil
}
