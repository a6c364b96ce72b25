package adoption_test

import (
	"crypto/ecdsa"
	"crypto/ed25519"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/rsa"
	"encoding/pem"
	"errors"
	"fmt"
	"io"
	"net"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"golang.org/x/crypto/ssh"
	"golang.org/x/crypto/ssh/knownhosts"

	"github.com/atollhq/terraform-provider-atoll/internal/provider/adoption"
)

// server is an SSH server that lets one key in and runs nothing. Keys are its host keys, by type.
type server struct {
	port  int
	keys  map[string]ssh.Signer
	login string
}

func newServer(t *testing.T) *server {
	t.Helper()
	s := &server{keys: map[string]ssh.Signer{}}
	_, ed, err := ed25519.GenerateKey(rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	ec, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	rs, err := rsa.GenerateKey(rand.Reader, 2048)
	if err != nil {
		t.Fatal(err)
	}
	_, user, err := ed25519.GenerateKey(rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	allowed, err := ssh.NewSignerFromKey(user)
	if err != nil {
		t.Fatal(err)
	}
	cfg := &ssh.ServerConfig{PublicKeyCallback: func(_ ssh.ConnMetadata, key ssh.PublicKey) (*ssh.Permissions, error) {
		if string(key.Marshal()) != string(allowed.PublicKey().Marshal()) {
			return nil, errors.New("not allowed")
		}
		return nil, nil //nolint:nilnil // no permissions is what the package expects here
	}}
	for _, key := range []any{ed, ec, rs} {
		signer, err := ssh.NewSignerFromKey(key)
		if err != nil {
			t.Fatal(err)
		}
		s.keys[signer.PublicKey().Type()] = signer
		cfg.AddHostKey(signer)
	}
	block, err := ssh.MarshalPrivateKey(user, "")
	if err != nil {
		t.Fatal(err)
	}
	s.login = string(pem.EncodeToMemory(block))
	s.port = listen(t, func(conn net.Conn) {
		if c, channels, requests, err := ssh.NewServerConn(conn, cfg); err == nil {
			go ssh.DiscardRequests(requests)
			for offered := range channels {
				_ = offered.Reject(ssh.Prohibited, "nothing runs here")
			}
			_ = c.Close()
		}
	})
	return s
}

// listen serves connections on a port of loopback until the test ends.
func listen(t *testing.T, serve func(net.Conn)) int {
	t.Helper()
	var lc net.ListenConfig
	listener, err := lc.Listen(t.Context(), "tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = listener.Close() })
	go func() {
		for {
			conn, err := listener.Accept()
			if err != nil {
				return
			}
			go func() {
				defer func() { _ = conn.Close() }()
				serve(conn)
			}()
		}
	}()
	_, port, err := net.SplitHostPort(listener.Addr().String())
	if err != nil {
		t.Fatal(err)
	}
	var n int
	if _, err := fmt.Sscan(port, &n); err != nil {
		t.Fatal(err)
	}
	return n
}

func (s *server) line(keyType string) string {
	return strings.TrimSpace(string(ssh.MarshalAuthorizedKey(s.keys[keyType].PublicKey())))
}

func (s *server) host(key string) adoption.Host {
	return adoption.Host{Address: "127.0.0.1", Port: s.port, User: "root", Key: key}
}

func (s *server) config() adoption.Config {
	return adoption.Config{PrivateKey: adoption.Secret(s.login), Timeout: 5 * time.Second}
}

// TestEachHostKeyType logs in by each type of host key, pinned or from a file: the server must be made to show that one.
func TestEachHostKeyType(t *testing.T) {
	t.Parallel()
	s := newServer(t)
	for keyType := range s.keys {
		t.Run(keyType, func(t *testing.T) {
			t.Parallel()
			for name, key := range map[string]string{
				"authorized_keys form": s.line(keyType), "ssh-keyscan form": "127.0.0.1 " + s.line(keyType),
			} {
				m, err := adoption.Dial(t.Context(), s.config(), s.host(key))
				if err != nil {
					t.Fatalf("%s: %v", name, err)
				}
				m.Close()
			}
			file := filepath.Join(t.TempDir(), "known_hosts")
			line := knownhosts.Line([]string{fmt.Sprintf("127.0.0.1:%d", s.port)}, s.keys[keyType].PublicKey())
			if err := os.WriteFile(file, []byte("# a comment\n"+line+"\n"), 0o600); err != nil {
				t.Fatal(err)
			}
			cfg := s.config()
			cfg.KnownHosts = file
			m, err := adoption.Dial(t.Context(), cfg, s.host(""))
			if err != nil {
				t.Fatal(err)
			}
			m.Close()
		})
	}
}

func TestHostKeyIsNotKnown(t *testing.T) {
	t.Parallel()
	s := newServer(t)
	for _, file := range []string{"", filepath.Join(t.TempDir(), "absent")} {
		cfg := s.config()
		cfg.KnownHosts = file
		_, err := adoption.Dial(t.Context(), cfg, s.host(""))
		var unknown *adoption.UnknownHostKeyError
		if !errors.As(err, &unknown) || !strings.HasPrefix(unknown.Fingerprint, "SHA256:") {
			t.Errorf("file %q: got error %v, want UnknownHostKeyError", file, err)
		}
	}
}

func TestHostKeyChanged(t *testing.T) {
	t.Parallel()
	s, other := newServer(t), newServer(t)
	for keyType := range s.keys {
		_, err := adoption.Dial(t.Context(), s.config(), s.host(other.line(keyType)))
		var changed *adoption.HostKeyChangedError
		if !errors.As(err, &changed) {
			t.Fatalf("%s: got error %v, want HostKeyChangedError", keyType, err)
		}
		if want := ssh.FingerprintSHA256(other.keys[keyType].PublicKey()); len(changed.Expected) != 1 || changed.Expected[0] != want {
			t.Errorf("got expected %q, want %q", changed.Expected, want)
		}
		if want := ssh.FingerprintSHA256(s.keys[keyType].PublicKey()); changed.Fingerprint != want {
			t.Errorf("got shown %q, want %q", changed.Fingerprint, want)
		}
	}
}

func TestLogin(t *testing.T) {
	t.Parallel()
	s, other := newServer(t), newServer(t)
	locked, err := ssh.MarshalPrivateKeyWithPassphrase(newPrivate(t), "", []byte("phrase"))
	if err != nil {
		t.Fatal(err)
	}
	key := s.line(ssh.KeyAlgoED25519)
	tests := []struct {
		name  string
		login string
		want  func(error) bool
	}{
		{"another key", other.login, func(err error) bool { var e *adoption.LoginError; return errors.As(err, &e) }},
		{"no key", "", func(err error) bool { return errors.Is(err, adoption.ErrNoCredentials) }},
		{"garbage", "-----BEGIN secret-garbage", func(err error) bool { return err != nil && !strings.Contains(err.Error(), "secret-garbage") }},
		{"passphrase", string(pem.EncodeToMemory(locked)), func(err error) bool { return err != nil && strings.Contains(err.Error(), "SSH agent") }},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			cfg := s.config()
			cfg.PrivateKey = adoption.Secret(tt.login)
			if _, err := adoption.Dial(t.Context(), cfg, s.host(key)); !tt.want(err) {
				t.Errorf("got error %v", err)
			}
		})
	}
}

func newPrivate(t *testing.T) ed25519.PrivateKey {
	t.Helper()
	_, private, err := ed25519.GenerateKey(rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	return private
}

// TestSilentServer does not hang on a server that accepts a connection and says nothing, nor on a closed port.
func TestSilentServer(t *testing.T) {
	t.Parallel()
	s := newServer(t)
	silent := listen(t, func(conn net.Conn) { _, _ = io.Copy(io.Discard, conn) })
	closed := listen(t, func(net.Conn) {})
	for name, port := range map[string]int{"silent": silent, "hangs up": closed} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			cfg := s.config()
			cfg.Timeout = 200 * time.Millisecond
			host := s.host(s.line(ssh.KeyAlgoED25519))
			host.Port = port
			_, err := adoption.Dial(t.Context(), cfg, host)
			var away *adoption.UnreachableError
			if !errors.As(err, &away) {
				t.Errorf("got error %v, want UnreachableError", err)
			}
		})
	}
}

func TestSecretPrintsNothing(t *testing.T) {
	t.Parallel()
	cfg := adoption.Config{PrivateKey: "-----BEGIN OPENSSH PRIVATE KEY-----"}
	for _, format := range []string{"%v", "%+v", "%#v", "%s", "%q"} {
		if text := fmt.Sprintf(format, cfg); strings.Contains(text, "BEGIN") {
			t.Errorf("%s shows the key: %s", format, text)
		}
	}
}
