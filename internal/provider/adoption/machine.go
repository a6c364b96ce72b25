package adoption

import (
	"bytes"
	"context"
	"errors"
	"io"
	"net"
	"strconv"
	"strings"
	"time"

	"golang.org/x/crypto/ssh"
)

// Machine is a machine that the operator is logged in to.
type Machine struct {
	client  *ssh.Client
	address string
	root    string // what goes before a command to run it as root
	done    func()
}

// Dial logs in to a machine. A connection that is refused or does not come about is tried again until ctx ends or the
// configured timeout is over, since the machine may be booting; a wrong host key or a refused login is final.
func Dial(ctx context.Context, c Config, h Host) (*Machine, error) {
	timeout := c.Timeout
	if timeout == 0 {
		timeout = 30 * time.Second
	}
	ctx, cancel := context.WithTimeout(ctx, timeout)
	defer cancel()
	v, err := newVerifier(c, h)
	if err != nil {
		return nil, err
	}
	methods, done, err := c.auth(ctx)
	if err != nil {
		return nil, err
	}
	cfg := &ssh.ClientConfig{User: h.User, Auth: methods, HostKeyCallback: v.check, HostKeyAlgorithms: v.algorithms()}
	for {
		client, err := dialOnce(ctx, v.address, cfg)
		if err == nil {
			return &Machine{client: client, address: v.address, done: done}, nil
		}
		err = v.classify(ctx, h, err)
		var unreachable *UnreachableError
		if !errors.As(err, &unreachable) || !pause(ctx, time.Second) {
			done()
			return nil, err
		}
	}
}

func dialOnce(ctx context.Context, address string, cfg *ssh.ClientConfig) (*ssh.Client, error) {
	var d net.Dialer
	conn, err := d.DialContext(ctx, "tcp", address)
	if err != nil {
		return nil, err
	}
	// A server that accepts and then says nothing must not hang us.
	if deadline, ok := ctx.Deadline(); ok {
		if err := conn.SetDeadline(deadline); err != nil {
			return nil, errors.Join(err, conn.Close())
		}
	}
	c, channels, requests, err := ssh.NewClientConn(conn, address, cfg)
	if err != nil {
		_ = conn.Close() // the handshake's error is the one that counts
		return nil, err
	}
	if err := conn.SetDeadline(time.Time{}); err != nil {
		return nil, errors.Join(err, c.Close())
	}
	return ssh.NewClient(c, channels, requests), nil
}

// classify types the error of a failed login. What the host key check said counts first; after the key was found right the
// server has refused the login.
func (v *verifier) classify(ctx context.Context, h Host, err error) error {
	var unknown *UnknownHostKeyError
	var changed *HostKeyChangedError
	var negotiation *ssh.AlgorithmNegotiationError
	switch {
	case errors.As(err, &unknown):
		return unknown
	case errors.As(err, &changed):
		return changed
	case errors.As(err, &negotiation) && len(v.expected) > 0:
		return v.changed("no key of that type")
	case v.accepted && ctx.Err() == nil:
		return &LoginError{Address: v.address, User: h.User, Err: err}
	default:
		return &UnreachableError{Address: v.address, Err: err}
	}
}

func pause(ctx context.Context, d time.Duration) bool {
	t := time.NewTimer(d)
	defer t.Stop()
	select {
	case <-t.C:
		return true
	case <-ctx.Done():
		return false
	}
}

// Close ends the connection.
func (m *Machine) Close() {
	_ = m.client.Close() // nothing is under way any more
	m.done()
}

// run runs a shell script on the machine, as root, and returns what it prints. Stdin may carry secrets, the script not: it
// shows in the machine's process list.
func (m *Machine) run(ctx context.Context, what, script string, stdin io.Reader) (string, error) {
	return m.exec(ctx, what, m.root+"sh -c "+quote(script), stdin)
}

func (m *Machine) exec(ctx context.Context, what, command string, stdin io.Reader) (string, error) {
	s, err := m.client.NewSession()
	if err != nil {
		return "", &CommandError{What: what, Err: err}
	}
	defer func() { _ = s.Close() }() // io.EOF when it has ended by itself
	var stdout, stderr bytes.Buffer
	s.Stdout, s.Stderr, s.Stdin = &stdout, &stderr, stdin
	if err := s.Start(command); err != nil {
		return "", &CommandError{What: what, Err: err}
	}
	ended := make(chan error, 1)
	go func() { ended <- s.Wait() }()
	select {
	case err = <-ended:
	case <-ctx.Done():
		// Only closing the connection is sure to end a session whose other side is gone; then the buffers are ours again.
		_ = m.client.Close()
		<-ended //nolint:errcheck // it says only that it was closed
		err = ctx.Err()
	}
	if err != nil {
		return stdout.String(), &CommandError{What: what, Stderr: strings.TrimSpace(stderr.String()), Err: err}
	}
	return stdout.String(), nil
}

// quote makes one shell word of s.
func quote(s string) string { return "'" + strings.ReplaceAll(s, "'", `'\''`) + "'" }

// Facts is what matters of a machine before it becomes a node.
type Facts struct {
	// Arch is the architecture as Go calls it.
	Arch string
	// AgentSum is the SHA-256 of the installed agent in hexadecimal, empty when there is none.
	AgentSum string
	// Joined tells which cluster's which node the machine is already; nil when none.
	Joined *Membership
	// ClockAhead is how far this computer's clock is ahead of the machine's, to within some seconds; negative when behind.
	ClockAhead time.Duration
}

// Membership is what a machine has joined as.
type Membership struct {
	Cluster    string `json:"cluster"`
	Node       string `json:"node"`
	SigningKey string `json:"signing_key"`
}

// Inspect finds out what the machine is. *UnsuitableError when it cannot be a node.
func (m *Machine) Inspect(ctx context.Context) (Facts, error) {
	out, err := m.exec(ctx, "look at the machine", "uname -s; uname -m; id -u; test -d /run/systemd/system && echo systemd || echo other; date +%s", nil)
	if err != nil {
		return Facts{}, err
	}
	now := time.Now()
	lines := strings.Fields(out)
	if len(lines) != 5 {
		return Facts{}, m.unsuitable("does not answer as a Unix machine would", "use a Linux machine")
	}
	if lines[0] != "Linux" {
		return Facts{}, m.unsuitable("runs "+lines[0], "use a Linux machine")
	}
	arch, ok := map[string]string{"x86_64": "amd64", "aarch64": "arm64"}[lines[1]]
	if !ok {
		return Facts{}, m.unsuitable("is a "+lines[1]+" machine", "use one with x86_64 or aarch64")
	}
	if uid, err := strconv.Atoi(lines[2]); err != nil || uid != 0 {
		m.root = "sudo -n "
		if _, err := m.run(ctx, "become root", "true", nil); err != nil {
			return Facts{}, m.unsuitable("does not let the user become root without a password", "log in as root, or allow it with sudo")
		}
	}
	if lines[3] != "systemd" {
		return Facts{}, m.unsuitable("does not run systemd", "use a distribution with systemd, for example Debian")
	}
	clock, err := strconv.ParseInt(lines[4], 10, 64)
	if err != nil {
		return Facts{}, m.unsuitable("does not tell its time", "use a distribution with a date command that knows +%s, for example Debian")
	}
	return m.inspectAgent(ctx, Facts{Arch: arch, ClockAhead: now.Sub(time.Unix(clock, 0))})
}

func (m *Machine) unsuitable(reason, remedy string) error {
	return &UnsuitableError{Address: m.address, Reason: reason, Remedy: remedy}
}
