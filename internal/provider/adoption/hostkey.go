package adoption

import (
	"crypto/ed25519"
	"crypto/rand"
	"errors"
	"fmt"
	"io/fs"
	"net"
	"os"
	"slices"
	"strings"

	"golang.org/x/crypto/ssh"
	"golang.org/x/crypto/ssh/knownhosts"
)

// ParseHostKey reads a host key as ssh-keyscan prints it, with or without the host before it.
func ParseHostKey(line string) (ssh.PublicKey, error) {
	if key, _, _, _, err := ssh.ParseAuthorizedKey([]byte(line)); err == nil {
		return key, nil
	}
	if _, _, key, _, _, err := ssh.ParseKnownHosts([]byte(line)); err == nil {
		return key, nil
	}
	return nil, errors.New("is not a host key: write it as `ssh-keyscan` prints it, for example \"ssh-ed25519 AAAA…\"")
}

// verifier decides about one machine's host key. Accepted tells whether it has found the key right.
type verifier struct {
	address  string
	expected []ssh.PublicKey
	where    string
	accepted bool
}

// newVerifier finds out which keys the machine may show. None is no error yet: the machine is asked, so that the error
// can show what it offers.
func newVerifier(c Config, h Host) (*verifier, error) {
	v := &verifier{address: net.JoinHostPort(h.Address, fmt.Sprint(h.Port))}
	if h.Key != "" {
		key, err := ParseHostKey(h.Key)
		if err != nil {
			return nil, fmt.Errorf("host_key %w", err)
		}
		v.expected, v.where = []ssh.PublicKey{key}, "host_key"
		return v, nil
	}
	if c.KnownHosts == "" {
		return v, nil
	}
	check, err := knownhosts.New(c.KnownHosts)
	if errors.Is(err, fs.ErrNotExist) {
		return v, nil
	}
	if err != nil {
		return nil, fmt.Errorf("read known hosts: %w", err)
	}
	// The package only answers for a given key; asked for a key that nobody has, it lists those that would be right.
	nobody, err := strangerKey()
	if err != nil {
		return nil, err
	}
	var other *knownhosts.KeyError
	if errors.As(check(v.address, anyAddress(h), nobody), &other) {
		for _, w := range other.Want {
			v.expected = append(v.expected, w.Key)
		}
		v.where = c.KnownHosts
	}
	return v, nil
}

func strangerKey() (ssh.PublicKey, error) {
	public, _, err := ed25519.GenerateKey(rand.Reader)
	if err != nil {
		return nil, err
	}
	return ssh.NewPublicKey(public)
}

func anyAddress(h Host) net.Addr {
	return &net.TCPAddr{IP: net.ParseIP(h.Address), Port: h.Port}
}

// algorithms are those that make the server show a key that is expected, nil for the default.
func (v *verifier) algorithms() []string {
	var out []string
	for _, k := range v.expected {
		if k.Type() == ssh.KeyAlgoRSA {
			out = append(out, ssh.KeyAlgoRSASHA512, ssh.KeyAlgoRSASHA256)
			continue
		}
		out = append(out, k.Type())
	}
	return out
}

// check is the ssh.HostKeyCallback.
func (v *verifier) check(_ string, _ net.Addr, key ssh.PublicKey) error {
	if len(v.expected) == 0 {
		return &UnknownHostKeyError{
			Address: v.address, Offered: strings.TrimSpace(string(ssh.MarshalAuthorizedKey(key))), Fingerprint: ssh.FingerprintSHA256(key),
		}
	}
	for _, e := range v.expected {
		if slices.Equal(e.Marshal(), key.Marshal()) {
			v.accepted = true
			return nil
		}
	}
	return v.changed(ssh.FingerprintSHA256(key))
}

func (v *verifier) changed(shown string) error {
	e := &HostKeyChangedError{Address: v.address, Where: v.where, Fingerprint: shown}
	for _, k := range v.expected {
		e.Expected = append(e.Expected, ssh.FingerprintSHA256(k))
	}
	return e
}

// DefaultKnownHosts returns the user's known_hosts file, empty when there is no home directory.
func DefaultKnownHosts() string {
	home, err := os.UserHomeDir()
	if err != nil {
		return ""
	}
	return home + "/.ssh/known_hosts"
}
