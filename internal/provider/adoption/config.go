package adoption

import (
	"context"
	"errors"
	"fmt"
	"net"
	"os"
	"time"

	"golang.org/x/crypto/ssh"
	"golang.org/x/crypto/ssh/agent"
)

// Config is how the operator reaches machines. It prints no secret.
type Config struct {
	// PrivateKey is the operator's key in PEM, empty for none; secret.
	PrivateKey Secret
	// AgentSocket is the socket of an SSH agent, empty for none.
	AgentSocket string
	// KnownHosts is a file of known host keys, empty for none.
	KnownHosts string
	// Binary is the path of the atolld to install; "{arch}" in it stands for the machine's architecture as Go calls it.
	Binary string
	// Err tells why the credentials cannot be used (yet); nil when they can.
	Err error
	// Timeout bounds the way to a login. Default 30 s.
	Timeout time.Duration
}

// Secret is a text that prints as "[redacted]".
type Secret string

// String returns that the secret is redacted.
func (Secret) String() string { return "[redacted]" }

// GoString returns that the secret is redacted.
func (Secret) GoString() string { return "[redacted]" }

// Host is one machine.
type Host struct {
	Address string
	Port    int
	User    string
	// Key is the machine's host key as ssh-keyscan prints it, with or without the name before it. When it is empty the file
	// of known hosts decides.
	Key string
}

// ErrNoCredentials is returned when there is neither a key nor an agent to log in with.
var ErrNoCredentials = errors.New("no way to log in over SSH: set ssh.private_key or ssh.private_key_file in the provider block, " +
	"or ATOLL_SSH_PRIVATE_KEY, or ATOLL_SSH_PRIVATE_KEY_FILE, or run an SSH agent (SSH_AUTH_SOCK)")

// auth returns how to log in, and what to close afterwards.
func (c Config) auth(ctx context.Context) ([]ssh.AuthMethod, func(), error) {
	if c.Err != nil {
		return nil, nil, c.Err
	}
	var methods []ssh.AuthMethod
	done := func() {}
	if c.PrivateKey != "" {
		signer, err := ssh.ParsePrivateKey([]byte(c.PrivateKey))
		var locked *ssh.PassphraseMissingError
		if errors.As(err, &locked) {
			return nil, nil, errors.New("the SSH private key has a passphrase: load it into an SSH agent instead")
		}
		if err != nil {
			// The parser's error could quote the key.
			return nil, nil, errors.New("the SSH private key cannot be read: it must be a private key in PEM or OpenSSH form")
		}
		methods = append(methods, ssh.PublicKeys(signer))
	}
	if c.AgentSocket != "" {
		var d net.Dialer
		conn, err := d.DialContext(ctx, "unix", c.AgentSocket)
		switch {
		case err == nil:
			done = func() { _ = conn.Close() }
			methods = append(methods, ssh.PublicKeysCallback(agent.NewClient(conn).Signers))
		case len(methods) == 0:
			return nil, nil, fmt.Errorf("reach the SSH agent: %w", err)
		}
	}
	if len(methods) == 0 {
		return nil, nil, ErrNoCredentials
	}
	return methods, done, nil
}

// ReadKeyFile reads a private key file.
func ReadKeyFile(path string) (Secret, error) {
	data, err := os.ReadFile(path)
	if err != nil {
		return "", fmt.Errorf("read the SSH private key: %w", err)
	}
	return Secret(data), nil
}
