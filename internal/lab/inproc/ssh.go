package inproc

import (
	"context"
	"crypto/ed25519"
	"crypto/rand"
	"errors"
	"fmt"
	"io"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"time"

	"golang.org/x/crypto/ssh"
)

// SSH is an SSH server that lets an operator into a machine. Commands run in a shell of this machine, with the paths of the
// agent moved below the machine's root; what the installed agent is told to do happens in this process.
type SSH struct {
	machine  *Machine
	listener net.Listener

	mu       sync.Mutex
	hostKey  ssh.Signer
	commands []string
	uname    string
	clock    time.Duration
	cut      string

	allowed ssh.PublicKey
	work    sync.WaitGroup
}

// ServeSSH starts the server on a free port of the machine's address; the owner of the allowed key may log in.
func (m *Machine) ServeSSH(ctx context.Context, allowed ssh.PublicKey) (*SSH, error) {
	s := &SSH{machine: m, allowed: allowed, uname: "Linux\nx86_64\n0\nsystemd\n"}
	if err := s.NewHostKey(); err != nil {
		return nil, err
	}
	var lc net.ListenConfig
	var err error
	if s.listener, err = lc.Listen(ctx, "tcp", net.JoinHostPort(m.Address.String(), "0")); err != nil {
		return nil, err
	}
	s.work.Go(func() {
		for {
			conn, err := s.listener.Accept()
			if err != nil {
				return
			}
			s.work.Go(func() { s.serve(conn) })
		}
	})
	return s, nil
}

// Close ends the server once the connections have ended.
func (s *SSH) Close() error {
	err := s.listener.Close()
	s.work.Wait()
	return err
}

// Port is where the server listens.
func (s *SSH) Port() int {
	if a, ok := s.listener.Addr().(*net.TCPAddr); ok {
		return a.Port
	}
	return 0
}

// NewHostKey gives the machine another host key, as a new installation has.
func (s *SSH) NewHostKey() error {
	_, private, err := ed25519.GenerateKey(rand.Reader)
	if err != nil {
		return err
	}
	signer, err := ssh.NewSignerFromKey(private)
	if err != nil {
		return err
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	s.hostKey = signer
	return nil
}

// HostKey is the machine's host key, as ssh-keyscan prints it without the host.
func (s *SSH) HostKey() string {
	s.mu.Lock()
	defer s.mu.Unlock()
	return strings.TrimSpace(string(ssh.MarshalAuthorizedKey(s.hostKey.PublicKey())))
}

// Pretend makes the machine answer the first question (uname -s, uname -m, id -u, systemd) with lines; its time follows.
func (s *SSH) Pretend(lines ...string) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.uname = strings.Join(lines, "\n") + "\n"
}

// SetClock makes the machine's clock wrong for whoever logs in.
func (s *SSH) SetClock(ahead time.Duration) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.clock = ahead
}

// CutAfter carries the next command out that has the text in it, and then cuts the connection instead of answering.
func (s *SSH) CutAfter(text string) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.cut = text
}

// cuts tells whether the answer to a command is lost.
func (s *SSH) cuts(command string) bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.cut == "" || !strings.Contains(command, s.cut) {
		return false
	}
	s.cut = ""
	return true
}

// Commands returns every command that was run, which is what everybody on the machine could see.
func (s *SSH) Commands() []string {
	s.mu.Lock()
	defer s.mu.Unlock()
	return append([]string{}, s.commands...)
}

func (s *SSH) serve(conn net.Conn) {
	defer func() { _ = conn.Close() }()
	s.mu.Lock()
	cfg := &ssh.ServerConfig{PublicKeyCallback: func(_ ssh.ConnMetadata, key ssh.PublicKey) (*ssh.Permissions, error) {
		if string(key.Marshal()) != string(s.allowed.Marshal()) {
			return nil, errors.New("not allowed")
		}
		return &ssh.Permissions{}, nil
	}}
	cfg.AddHostKey(s.hostKey)
	s.mu.Unlock()
	c, channels, requests, err := ssh.NewServerConn(conn, cfg)
	if err != nil {
		return
	}
	defer func() { _ = c.Close() }()
	go ssh.DiscardRequests(requests)
	for offered := range channels {
		channel, requests, err := offered.Accept()
		if err != nil {
			return
		}
		go s.session(channel, requests, func() { _ = c.Close() })
	}
}

func (s *SSH) session(channel ssh.Channel, requests <-chan *ssh.Request, cut func()) {
	defer func() { _ = channel.Close() }()
	for r := range requests {
		if r.Type != "exec" {
			_ = r.Reply(false, nil)
			continue
		}
		_ = r.Reply(true, nil)
		var command struct{ Text string }
		status := struct{ Status uint32 }{}
		if err := ssh.Unmarshal(r.Payload, &command); err != nil {
			status.Status = 255
		} else if err := s.run(command.Text, channel); err != nil {
			_, _ = fmt.Fprintln(channel.Stderr(), err)
			status.Status = 1
		}
		if s.cuts(command.Text) {
			cut()
			return
		}
		_, _ = channel.SendRequest("exit-status", false, ssh.Marshal(&status))
		return
	}
}

func (s *SSH) run(command string, channel ssh.Channel) error {
	s.mu.Lock()
	s.commands = append(s.commands, command)
	uname := fmt.Sprintf("%s%d\n", s.uname, time.Now().Add(s.clock).Unix())
	s.mu.Unlock()
	switch {
	case strings.HasPrefix(command, "uname"):
		_, err := io.WriteString(channel, uname)
		return err
	case strings.Contains(command, "atolld install --start"):
		s.machine.Start()
		return nil
	case strings.Contains(command, "atolld uninstall"):
		if err := s.uninstall(); err != nil {
			return err
		}
		// What comes before the agent's own part is for the shell.
		command, _, _ = strings.Cut(command, "; if test")
		command += "'"
	}
	for _, path := range []string{"/usr/local", "/etc/atoll", "/var/lib/atoll"} {
		command = strings.ReplaceAll(command, path, s.machine.Root+path)
	}
	cmd := exec.Command("sh", "-c", command) //nolint:noctx // it ends with its input
	cmd.Stdin, cmd.Stdout, cmd.Stderr = channel, channel, channel.Stderr()
	return cmd.Run()
}

// uninstall is what `atolld uninstall --purge` does.
func (s *SSH) uninstall() error {
	err := s.machine.Stop()
	for _, path := range []string{"/usr/local/bin/atolld", "/var/lib/atoll", "/etc/atoll/first-boot.json"} {
		err = errors.Join(err, os.RemoveAll(filepath.Join(s.machine.Root, path)))
	}
	return err
}
