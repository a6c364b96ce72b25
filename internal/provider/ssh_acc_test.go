package provider_test

import (
	"crypto/ed25519"
	"crypto/rand"
	"encoding/pem"
	"fmt"
	"net/netip"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/hashicorp/terraform-plugin-testing/helper/resource"
	"github.com/hashicorp/terraform-plugin-testing/knownvalue"
	"github.com/hashicorp/terraform-plugin-testing/plancheck"
	"github.com/hashicorp/terraform-plugin-testing/statecheck"
	"github.com/hashicorp/terraform-plugin-testing/tfjsonpath"
	"golang.org/x/crypto/ssh"

	"github.com/atollhq/terraform-provider-atoll/internal/api"
	"github.com/atollhq/terraform-provider-atoll/internal/lab/inproc"
	"github.com/atollhq/terraform-provider-atoll/internal/platform"
	"github.com/atollhq/terraform-provider-atoll/internal/provider/operator"
	"github.com/atollhq/terraform-provider-atoll/internal/spec"
	"github.com/atollhq/terraform-provider-atoll/internal/trust"
)

// box is a machine that exists and that the operator can log in to.
type box struct {
	*inproc.Machine
	ssh *inproc.SSH
}

// newBox starts a machine with an SSH server. The first one sets the operator's SSH credentials and agent up.
func (w *world) newBox(t *testing.T) *box {
	t.Helper()
	if w.env["ATOLL_SSH_PRIVATE_KEY"] == "" {
		w.newSSHKey(t)
	}
	signer, err := ssh.ParsePrivateKey([]byte(w.env["ATOLL_SSH_PRIVATE_KEY"]))
	if err != nil {
		t.Fatal(err)
	}
	m, err := w.machines.New()
	if err != nil {
		t.Fatal(err)
	}
	s, err := m.ServeSSH(t.Context(), signer.PublicKey())
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := s.Close(); err != nil {
			t.Errorf("stop the SSH server: %v", err)
		}
	})
	return &box{Machine: m, ssh: s}
}

func (w *world) newSSHKey(t *testing.T) {
	t.Helper()
	_, private, err := ed25519.GenerateKey(rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	block, err := ssh.MarshalPrivateKey(private, "")
	if err != nil {
		t.Fatal(err)
	}
	// The program that is installed is this one: what matters is that it arrives whole.
	self, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	w.env["ATOLL_SSH_PRIVATE_KEY"] = string(pem.EncodeToMemory(block))
	w.env["ATOLL_AGENT_BINARY"] = self
	w.env["ATOLL_SSH_KNOWN_HOSTS_FILE"] = filepath.Join(t.TempDir(), "known_hosts")
}

// machineNode is a configuration of the cluster with one adopted machine.
func (b *box) machineNode(name, hostKey, more string) string {
	more += patience(more)
	if hostKey != "" {
		hostKey = fmt.Sprintf("host_key = %q", hostKey)
	}
	return clusterConfig + fmt.Sprintf(`
resource "atoll_node" %[1]q {
  cluster        = atoll_cluster.web
  name           = %[1]q
  failure_domain = { provider = "colo", site = "hong-kong" }
  ssh = {
    host = %[2]q
    port = %[3]d
    %[4]s
  }
  %[5]s
}
`, name, b.Address, b.ssh.Port(), hostKey, more)
}

// left returns what there is of Atoll's on the machine.
func (b *box) left(t *testing.T) []string {
	t.Helper()
	var out []string
	for _, path := range []string{"usr/local/bin/atolld", "usr/local/bin/.atolld.abcdef", "etc/atoll/first-boot.json", "var/lib/atoll"} {
		if _, err := os.Stat(filepath.Join(b.Root, path)); err == nil {
			out = append(out, path)
		}
	}
	return out
}

// TestAdoptMachine adopts a machine, changes it in place, imports it and lets it go.
func TestAdoptMachine(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	b := w.newBox(t)
	key := b.ssh.HostKey()
	w.test(t,
		resource.TestStep{
			Config: b.machineNode("hk1", key, ""),
			ConfigStateChecks: []statecheck.StateCheck{
				statecheck.ExpectKnownValue("atoll_node.hk1", tfjsonpath.New("addresses"), knownvalue.ListExact([]knownvalue.Check{knownvalue.StringExact(b.Address.String())})),
				statecheck.ExpectKnownValue("atoll_node.hk1", tfjsonpath.New("instance_id"), knownvalue.Null()),
			},
		},
		resource.TestStep{Config: b.machineNode("hk1", key, ""), ConfigPlanChecks: emptyPlan()},
		resource.TestStep{
			Config: b.machineNode("hk1", key, fmt.Sprintf("addresses = [%q, \"hk1.example.net\"]", b.Address)),
			ConfigPlanChecks: resource.ConfigPlanChecks{
				PreApply:             []plancheck.PlanCheck{plancheck.ExpectResourceAction("atoll_node.hk1", plancheck.ResourceActionUpdate)},
				PostApplyPostRefresh: []plancheck.PlanCheck{plancheck.ExpectEmptyPlan()},
			},
		},
		resource.TestStep{
			ResourceName: "atoll_node.hk1", ImportState: true, ImportStateVerify: true,
			ImportStateIdFunc:       fromEndpoint("atoll_node.hk1", "web/hk1"),
			ImportStateVerifyIgnore: []string{"ssh", "timeouts"},
		},
	)
	if left := b.left(t); len(left) != 0 {
		t.Errorf("the machine still has %q", left)
	}
	for _, command := range b.ssh.Commands() {
		if strings.Contains(command, "ticket_key") {
			t.Errorf("a command shows the payload to everybody on the machine: %s", command)
		}
	}
}

// TestAdoptionRefusals adopts machines that must not or cannot be adopted. The message names the attribute and the remedy,
// and the machine is as it was.
func TestAdoptionRefusals(t *testing.T) {
	t.Parallel()
	tests := []struct {
		name   string
		change func(*testing.T, *world, *box)
		// key returns the host_key of the configuration.
		key  func(*box) string
		want []string
	}{
		{"host key is not known", nil, func(*box) string { return "" }, []string{"SSH host key is not known", "ssh-keyscan -p", "ssh.host_key"}},
		{
			"host key changed", nil,
			func(b *box) string { old := b.ssh.HostKey(); _ = b.ssh.NewHostKey(); return old },
			[]string{"SSH host key has CHANGED", "Expected (host_key): SHA256:", "Shown: SHA256:"},
		},
		{"host key is garbage", nil, func(*box) string { return "nonsense" }, []string{"Invalid SSH host key", "ssh-keyscan"}},
		{
			"login refused",
			func(t *testing.T, w *world, _ *box) { w.newSSHKey(t) },
			(*box).hostKey,
			[]string{"does not let root in"},
		},
		{
			"no credentials",
			func(_ *testing.T, w *world, _ *box) { w.env["ATOLL_SSH_PRIVATE_KEY"] = "" },
			(*box).hostKey,
			[]string{"no way to log in over SSH", "ATOLL_SSH_PRIVATE_KEY"},
		},
		{
			"not Linux",
			func(_ *testing.T, _ *world, b *box) { b.ssh.Pretend("FreeBSD", "amd64", "0", "other") },
			(*box).hostKey,
			[]string{"runs FreeBSD", "use a Linux machine"},
		},
		{
			"no systemd",
			func(_ *testing.T, _ *world, b *box) { b.ssh.Pretend("Linux", "x86_64", "0", "other") },
			(*box).hostKey,
			[]string{"does not run systemd"},
		},
		{
			"another architecture",
			func(_ *testing.T, _ *world, b *box) { b.ssh.Pretend("Linux", "aarch64", "0", "systemd") },
			(*box).hostKey,
			[]string{"cannot be installed on a machine with arm64", "made for EM_X86_64"},
		},
		{
			"no agent to install",
			func(_ *testing.T, w *world, _ *box) { w.env["ATOLL_AGENT_BINARY"] = "" },
			(*box).hostKey,
			[]string{"no atolld", "agent_binary"},
		},
		{
			"member of another cluster",
			func(t *testing.T, _ *world, b *box) { b.joinElsewhere(t) },
			(*box).hostKey,
			[]string{`is node "old" of cluster "other"`, "atolld uninstall --purge"},
		},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			w := newWorld(t)
			b := w.newBox(t)
			w.adjust = func(c *operator.Config) { c.Adoption.AgentSocket = "" }
			if tt.change != nil {
				tt.change(t, w, b)
			}
			before := len(b.left(t))
			w.test(t, resource.TestStep{Config: b.machineNode("hk1", tt.key(b), ""), ExpectError: says(tt.want...)})
			if left := b.left(t); len(left) != before {
				t.Errorf("the machine has %q now", left)
			}
		})
	}
}

func (b *box) hostKey() string { return b.ssh.HostKey() }

// joinElsewhere makes the machine a node of another cluster.
func (b *box) joinElsewhere(t *testing.T) {
	t.Helper()
	if err := os.MkdirAll(b.StateDir(), 0o700); err != nil {
		t.Fatal(err)
	}
	record := []byte(`{"cluster":"other","node":"old","signing_key":"ed25519:AAAA"}`)
	if err := os.WriteFile(filepath.Join(b.StateDir(), "join.json"), record, 0o600); err != nil {
		t.Fatal(err)
	}
}

// TestUploadBreaksOff loses the connection once the agent is on the machine, before the operator hears of it. The node is in
// state, so that whoever gives up now leaves a clean machine, and whoever goes on gets a node.
func TestUploadBreaksOff(t *testing.T) {
	t.Parallel()
	for name, goOn := range map[string]bool{"give up": false, "go on": true} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			w := newWorld(t)
			b := w.newBox(t)
			b.ssh.CutAfter("sha256sum -c")
			config := b.machineNode("hk1", b.ssh.HostKey(), "")
			next := resource.TestStep{Config: clusterConfig}
			if goOn {
				next = resource.TestStep{Config: config, ConfigPlanChecks: resource.ConfigPlanChecks{
					PreApply: []plancheck.PlanCheck{plancheck.ExpectResourceAction("atoll_node.hk1", plancheck.ResourceActionDestroyBeforeCreate)},
				}}
			}
			next.PreConfig = func() {
				if left := b.left(t); len(left) == 0 {
					t.Error("nothing was uploaded")
				}
				if err := os.WriteFile(filepath.Join(b.Root, "usr/local/bin/.atolld.abcdef"), []byte("half"), 0o600); err != nil {
					t.Error(err)
				}
			}
			w.test(t, resource.TestStep{Config: config, ExpectError: says("upload the agent")}, next)
			if left := b.left(t); len(left) != 0 {
				t.Errorf("the machine still has %q", left)
			}
		})
	}
}

// TestKnownHosts adopts a machine whose host key is in the file of known hosts, beside keys of other types.
func TestKnownHosts(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	b := w.newBox(t)
	line := fmt.Sprintf("[%s]:%d %s\n", b.Address, b.ssh.Port(), b.ssh.HostKey())
	if err := os.WriteFile(w.env["ATOLL_SSH_KNOWN_HOSTS_FILE"], []byte("other.example.net "+b.ssh.HostKey()+"\n"+line), 0o600); err != nil {
		t.Fatal(err)
	}
	w.test(t, resource.TestStep{Config: b.machineNode("hk1", "", "")})
}

// TestDestroyUnreachableMachine lets a machine go that cannot be reached any more.
func TestDestroyUnreachableMachine(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	b := w.newBox(t)
	key := b.ssh.HostKey()
	w.adjust = func(c *operator.Config) { c.Adoption.Timeout = 1e9 }
	w.test(t,
		resource.TestStep{Config: b.machineNode("hk1", key, "")},
		resource.TestStep{
			PreConfig: func() {
				if err := b.Stop(); err != nil {
					t.Error(err)
				}
				if err := b.ssh.NewHostKey(); err != nil { // another machine answers in its place
					t.Error(err)
				}
			},
			Config: b.machineNode("hk1", key, ""), Destroy: true,
		},
	)
	if left := b.left(t); len(left) == 0 {
		t.Error("the other machine was changed")
	}
}

// TestResumeAdoption adopts a machine that an earlier run has made join, but that no state knows and no operator has
// confirmed. A finished node of the same name is refused.
func TestResumeAdoption(t *testing.T) {
	t.Parallel()
	for name, confirmed := range map[string]bool{"half made": false, "finished": true} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			w := newWorld(t)
			b := w.newBox(t)
			w.joinBefore(t, b, confirmed)
			step := resource.TestStep{Config: b.machineNode("hk1", b.ssh.HostKey(), "")}
			if confirmed {
				step.ExpectError = says("Node exists already", "terraform import ADDRESS 'web/hk1@"+b.Address.String())
			}
			w.test(t, step)
			if left := b.left(t); confirmed != (len(left) > 0) {
				t.Errorf("the machine has %q", left)
			}
		})
	}
}

// joinBefore makes the machine node hk1 of the cluster, as another run does, and waits until it has joined.
func (w *world) joinBefore(t *testing.T, b *box, confirmed bool) {
	t.Helper()
	n := spec.Node{
		Provider: "colo", Site: "hong-kong", MeshAddress: netip.MustParseAddr("10.66.0.9"), Addresses: []string{b.Address.String()},
		Machine: spec.Machine{Variant: spec.MachineSSH},
	}
	if confirmed {
		n.Identity = w.key.Public().String()
	}
	cluster := spec.Cluster{MeshCIDR: netip.MustParsePrefix("10.66.0.0/16"), Mesh: spec.DefaultMesh(), Ports: spec.DefaultPorts()}
	var objects []trust.Envelope
	for name, body := range map[string]spec.Body{"web": cluster, "hk1": n} {
		o, err := spec.NewObject("web", name, 1, 1, body)
		if err != nil {
			t.Fatal(err)
		}
		e, err := trust.SignObject(w.key, o)
		if err != nil {
			t.Fatal(err)
		}
		objects = append(objects, e)
	}
	ticket, err := trust.IssueTicket(w.key, trust.TicketRequest{Cluster: "web", Node: "hk1", Lifetime: time.Hour, Now: time.Now()})
	if err != nil {
		t.Fatal(err)
	}
	payload, err := platform.NewPayload(trust.Root{Cluster: "web", Key: w.key.Public()}, ticket, objects)
	if err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(filepath.Join(b.Root, platform.FirstBootFile), payload, 0o600); err != nil {
		t.Fatal(err)
	}
	b.Start()
	client := api.NewOperatorClient(w.key, api.Target{Cluster: "web", Node: "hk1", Endpoints: []string{b.Address.String() + ":7443"}})
	defer client.Close()
	for {
		_, err := client.Info(t.Context())
		if err == nil {
			return
		}
		if !operator.Pause(t.Context(), 20*time.Millisecond) {
			t.Fatalf("the machine does not join: %v", err)
		}
	}
}
