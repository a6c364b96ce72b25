//go:build linux

package lab

import (
	"context"
	"crypto/rand"
	"fmt"
	"net/netip"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"sync"

	"github.com/atollhq/terraform-provider-atoll/internal/lab/network"
)

// LinodeURL is the emulated API as the operator reaches it.
const LinodeURL = "http://" + network.RouterAddress + ":8480"

// operator is the folder with the operator's credentials.
type operator struct {
	dir       string
	publicKey string
	token     string
	// databasePassword is what the reference topology's database gives its user.
	databasePassword string

	hosts hostList
}

// hostList are machines whose host keys are known.
type hostList struct {
	mu   sync.Mutex
	list []*machine
}

func (h *hostList) add(m *machine) {
	h.mu.Lock()
	defer h.mu.Unlock()
	h.list = append(h.list, m)
}

func (h *hostList) remove(m *machine) {
	h.mu.Lock()
	defer h.mu.Unlock()
	h.list = slices.DeleteFunc(h.list, func(other *machine) bool { return other == m })
}

func (h *hostList) all() []*machine {
	h.mu.Lock()
	defer h.mu.Unlock()
	return slices.Clone(h.list)
}

// newOperator makes fresh credentials: a key pair for SSH and an access token for the cloud.
func newOperator(dir string) (*operator, error) {
	if err := os.MkdirAll(dir, 0o700); err != nil {
		return nil, fmt.Errorf("make the operator's folder: %w", err)
	}
	public, private, err := newSSHKey("operator")
	if err != nil {
		return nil, err
	}
	o := &operator{dir: dir, publicKey: public, token: rand.Text() + rand.Text(), databasePassword: rand.Text()}
	for name, data := range map[string][]byte{
		"id_ed25519": private, "id_ed25519.pub": []byte(public + "\n"), "linode-token": []byte(o.token), "demo-key": []byte(rand.Text()),
	} {
		if err := writeFile(filepath.Join(dir, name), data); err != nil {
			return nil, err
		}
	}
	return o, o.writeHosts()
}

func (o *operator) keyFile() string    { return filepath.Join(o.dir, "id_ed25519") }
func (o *operator) knownHosts() string { return filepath.Join(o.dir, "known_hosts") }
func (o *operator) sshConfig() string  { return filepath.Join(o.dir, "ssh_config") }

// addHost pins a machine's host key, as somebody who set the machine up would.
func (o *operator) addHost(m *machine) error {
	o.hosts.add(m)
	return o.writeHosts()
}

// writeHosts writes what ssh needs to reach the machines by name, and only with the right host key.
func (o *operator) writeHosts() error {
	var known, config strings.Builder
	for _, m := range o.hosts.all() {
		known.WriteString(m.name)
		for _, a := range []netip.Addr{m.addresses.IPv4, m.addresses.IPv6} {
			if a.IsValid() {
				known.WriteString("," + a.String())
			}
		}
		fmt.Fprintf(&known, " %s\n", m.knownKey())
		fmt.Fprintf(&config, "Host %s\n\tHostName %s\n", m.name, m.addresses.Best())
	}
	fmt.Fprintf(&config, "Host *\n\tUser root\n\tIdentityFile %s\n\tIdentitiesOnly yes\n\tUserKnownHostsFile %s\n"+
		"\tStrictHostKeyChecking yes\n\tConnectTimeout 5\n", o.keyFile(), o.knownHosts())
	if err := writeFile(o.knownHosts(), []byte(known.String())); err != nil {
		return err
	}
	return writeFile(o.sshConfig(), []byte(config.String()))
}

// DatabasePasswordVariable is the variable of the operator's environment with the password that the reference topology gives its
// database's user.
const DatabasePasswordVariable = "TF_VAR_database_password"

// Environment is what the operator's commands need to know about the lab, as NAME=value.
func (l *Lab) Environment() []string {
	o := l.operator
	env := []string{
		"ATOLL_LAB=" + l.options.Name,
		"LINODE_URL=" + LinodeURL,
		"LINODE_TOKEN=" + o.token,
		"ATOLL_LAB_SSH_KEY=" + o.keyFile(),
		"ATOLL_LAB_KNOWN_HOSTS=" + o.knownHosts(),
		"ATOLL_LAB_SSH_CONFIG=" + o.sshConfig(),
		"ATOLL_LAB_DEMO_KEY=" + filepath.Join(o.dir, "demo-key"),
		DatabasePasswordVariable + "=" + o.databasePassword,
		// Nothing outside the lab answers: asking for news would only cost time.
		"CHECKPOINT_DISABLE=1",
		// Where the provider looks for what its configuration does not say.
		"ATOLL_SSH_PRIVATE_KEY_FILE=" + o.keyFile(),
		"ATOLL_SSH_KNOWN_HOSTS_FILE=" + o.knownHosts(),
	}
	env = append(env, l.front.environment()...)
	if l.options.Atolld != "" {
		env = append(env, "ATOLL_AGENT_BINARY="+l.options.Atolld)
	}
	return env
}

// proxies would lead requests out of the lab's network, where they cannot go.
var proxies = []string{"HTTP_PROXY", "HTTPS_PROXY", "ALL_PROXY", "NO_PROXY"}

// withEnvironment adds the lab's variables to this process's environment.
func withEnvironment(variables []string) []string {
	env := slices.DeleteFunc(os.Environ(), func(v string) bool {
		name, _, _ := strings.Cut(v, "=")
		return slices.Contains(proxies, strings.ToUpper(name))
	})
	return append(env, variables...)
}

// OperatorCommand prepares a command on the operator's workstation: in its network, with Environment added to this
// process's own.
func (l *Lab) OperatorCommand(ctx context.Context, argv ...string) *exec.Cmd {
	cmd := l.net.OperatorNamespace().Command(ctx, argv...)
	cmd.Env = withEnvironment(l.Environment())
	return cmd
}

// SSH prepares an ssh command to an unmanaged machine, with its host key pinned.
func (l *Lab) SSH(ctx context.Context, name string, argv ...string) *exec.Cmd {
	return l.OperatorCommand(ctx, append([]string{"ssh", "-F", l.operator.sshConfig(), name}, argv...)...)
}
