//go:build linux

package lab

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"time"

	"golang.org/x/crypto/ssh"
	"golang.org/x/sys/unix"

	"github.com/atollhq/terraform-provider-atoll/internal/lab/network"
)

// Commands inside a container enter its namespaces. A virtual machine can only be entered as everybody does: by SSH, with
// the lab's key, from the router, which no impaired path leads through.

// hostKeyPatience bounds one attempt to learn a machine's host key: under emulation a key exchange takes a second.
const hostKeyPatience = 15 * time.Second

// errLearned ends a handshake that was only made to see the host key.
var errLearned = errors.New("the host key is known now")

// learn remembers a virtual machine's host key when its SSH server answers for the first time, as somebody who reads it
// on the machine's console does: nobody else is on the cable.
func (l *Lab) learn(ctx context.Context, m *machine) error {
	if m.virtual == nil || m.knownKey() != "" {
		return nil
	}
	ctx, cancel := context.WithTimeout(ctx, hostKeyPatience)
	defer cancel()
	conn, err := l.net.Router().Dial(ctx, "tcp", net.JoinHostPort(m.addresses.Best().String(), "22"))
	if err != nil {
		return fmt.Errorf("learn the host key of %s: %w", m.name, err)
	}
	defer func() { _ = conn.Close() }()
	if err := conn.SetDeadline(time.Now().Add(hostKeyPatience)); err != nil {
		return fmt.Errorf("learn the host key of %s: %w", m.name, err)
	}
	key := ""
	_, _, _, err = ssh.NewClientConn(conn, m.name, &ssh.ClientConfig{
		User: "root", HostKeyAlgorithms: []string{ssh.KeyAlgoED25519},
		HostKeyCallback: func(_ string, _ net.Addr, public ssh.PublicKey) error {
			key = strings.TrimSpace(string(ssh.MarshalAuthorizedKey(public)))
			return errLearned
		},
	})
	if key == "" {
		return fmt.Errorf("learn the host key of %s: %w", m.name, err)
	}
	m.learnKey(key)
	if err := l.entry.add(m); err != nil {
		return err
	}
	if m.kind != KindUnmanaged {
		return nil
	}
	return l.operator.addHost(m)
}

func (m *machine) knownKey() string {
	m.identity.Lock()
	defer m.identity.Unlock()
	return m.hostKey
}

func (m *machine) learnKey(key string) {
	m.identity.Lock()
	defer m.identity.Unlock()
	m.hostKey = key
}

// entry is what ssh needs to enter every virtual machine of a lab.
type entry struct {
	dir, key string
	hosts    hostList
}

func (e *entry) config() string { return filepath.Join(e.dir, "exec_config") }

func (e *entry) add(m *machine) error {
	e.hosts.add(m)
	return e.write()
}

// write writes ssh's configuration. One connection serves many commands: under emulation each costs a second of key
// exchange. It is another one after each boot.
func (e *entry) write() error {
	known := filepath.Join(e.dir, "exec_known_hosts")
	var keys, config strings.Builder
	for _, m := range e.hosts.all() {
		sum := sha256.Sum256(fmt.Appendf(nil, "%s %d", m.name, m.boot.Load()))
		fmt.Fprintf(&keys, "%s %s\n", m.name, m.knownKey())
		fmt.Fprintf(&config, "Host %s\n\tHostName %s\n\tHostKeyAlias %s\n\tControlPath %s\n", m.name, m.addresses.Best(), m.name,
			filepath.Join(e.dir, "run", "ssh-"+hex.EncodeToString(sum[:6])))
	}
	fmt.Fprintf(&config, "Host *\n\tUser root\n\tIdentityFile %s\n\tIdentitiesOnly yes\n\tBatchMode yes\n\tUserKnownHostsFile %s\n"+
		"\tStrictHostKeyChecking yes\n\tHostKeyAlgorithms ssh-ed25519\n\tLogLevel ERROR\n\tConnectTimeout 20\n"+
		"\tServerAliveInterval 5\n\tServerAliveCountMax 6\n\tControlMaster auto\n\tControlPersist 60\n", e.key, known)
	return errors.Join(writeFile(known, []byte(keys.String())), writeFile(e.config(), []byte(config.String())))
}

// entryCommand prepares a command inside a virtual machine.
func entryCommand(ctx context.Context, router network.Namespace, config, name string, argv ...string) *exec.Cmd {
	line := []string{"ssh", "-F", config}
	if terminal(os.Stdin) {
		line = append(line, "-t")
	}
	return router.Command(ctx, append(line, name, "--", quote(argv))...)
}

// quote makes one line of a command that a shell takes apart again into the same words.
func quote(argv []string) string {
	words := make([]string, 0, len(argv))
	for _, a := range argv {
		words = append(words, "'"+strings.ReplaceAll(a, "'", `'\''`)+"'")
	}
	return strings.Join(words, " ")
}

// terminal says whether somebody types into a file.
func terminal(f *os.File) bool {
	_, err := unix.IoctlGetTermios(int(f.Fd()), unix.TCGETS)
	return err == nil
}
