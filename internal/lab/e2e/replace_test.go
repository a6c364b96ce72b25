//go:build linux

package e2e_test

import (
	"context"
	"encoding/json"
	"fmt"
	"net/http"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/atollhq/terraform-provider-atoll/internal/lab/leak"
	"github.com/atollhq/terraform-provider-atoll/internal/lab/linode"
	"github.com/atollhq/terraform-provider-atoll/internal/lab/network"
	"github.com/atollhq/terraform-provider-atoll/internal/platform"
	"github.com/atollhq/terraform-provider-atoll/internal/store"
	"github.com/atollhq/terraform-provider-atoll/internal/trust"
)

// replacedNode makes one node anew. The new one has another identity, and of the old one nothing is left: not in the
// stores, not in the mesh, not in the cloud. The old one's first-boot data, taken from it in time, lets nobody in.
func replacedNode(t *testing.T, s *site) {
	const node = "sg1"
	oldIdentity, old := s.identity(t, node), s.marks(t, node)
	oldPayload := s.userData(t, node)
	oldID := s.instances(t)[s.machine(t, node).Name]
	s.apply(t, "-replace="+s.address(t, node))
	s.wantHealthy(t, 30*time.Second, everyNode...)
	if identity := s.identity(t, node); identity == oldIdentity {
		t.Errorf("the node still has the identity %s", identity)
	}
	if list := s.instances(t); len(list) != 1 || list[node] == oldID {
		t.Errorf("the cloud has the instances %v, want one and not number %d", list, oldID)
	}
	s.wantForgotten(t, node, old)
	s.bringAgent(t, spare)
	s.bringFile(t, spare, firstBootFile, oldPayload)
	s.eventually(t, "a machine has used the old node's ticket", 20*time.Second, func(ctx context.Context) error {
		_, err := s.Exec(ctx, spare, "test", "-e", "/var/lib/atoll/join.json")
		return err
	})
	var used struct {
		Proof trust.Proof `json:"proof"`
	}
	if err := json.Unmarshal([]byte(s.exec(t, spare, "cat", "/var/lib/atoll/join.json")), &used); err != nil {
		t.Fatal(err)
	}
	before := s.identity(t, node)
	for _, n := range everyNode {
		outcomes, err := s.agent(t, n).Push(t.Context(), []store.Record{store.ProofRecord(used.Proof)})
		if err != nil {
			t.Fatal(err)
		}
		if got := outcomes[0]; got.Result != store.Refused || got.Reason != trust.ReasonReplayed {
			t.Errorf("%s says of the old ticket: %+v, want it to be refused as replayed", n, got)
		}
	}
	if now := s.identity(t, node); now != before {
		t.Errorf("the node's identity is %s now, it was %s", now, before)
	}
	s.takeAgent(t, spare)
	s.wantHealthy(t, 30*time.Second, everyNode...)
	s.wantNoChange(t)
}

// marks are what a node is known by to others.
func (s *site) marks(t *testing.T, node string) *leak.Secrets {
	t.Helper()
	identity, err := trust.ParsePublicKey(s.identity(t, node))
	if err != nil {
		t.Fatal(err)
	}
	marks := &leak.Secrets{}
	marks.AddText(theIdentity, identity.String())
	marks.AddKey(theIdentity, identity[:])
	marks.AddText(theIdentity, identity.Fingerprint())
	marks.AddText(theMeshKey, s.meshKeyLine(t, node))
	return marks
}

// What marks find.
const theIdentity, theMeshKey = "the identity", "the mesh key"

// wantForgotten demands that no node has anything of what a node was before it was replaced: not in what its agent gives to
// others, and not on its disk. What the node is now must be found in the same places.
func (s *site) wantForgotten(t *testing.T, node string, old *leak.Secrets) {
	t.Helper()
	now := s.marks(t, node)
	root := trust.Root{Cluster: s.cluster(t), Key: s.Key.Public()}
	for _, n := range everyNode {
		records, err := s.agent(t, n).Records(t.Context())
		if err != nil {
			t.Fatal(err)
		}
		s.wantMember(t, n, root, records, node)
		text, err := json.Marshal(records)
		if err != nil {
			t.Fatal(err)
		}
		for _, what := range old.In(text) {
			t.Errorf("the agent of %s still has %s of the old %s among its records", n, what, node)
		}
		for _, what := range []string{theIdentity, theMeshKey} {
			if found := now.In(text); !slices.Contains(found, what) {
				t.Errorf("the records of %s hold %q of the new %s, not %s: the scenario does not know how to look", n, found, node, what)
			}
		}
		for dir, want := range map[string]string{"var/lib/atoll": theIdentity, "etc/tinc": theMeshKey} {
			below := filepath.Join(s.root(n), dir)
			left, _, err := old.Below(below, nil)
			if err != nil {
				t.Fatal(err)
			}
			for _, found := range left {
				t.Errorf("%s still has of the old %s: %s", n, node, found)
			}
			have, files, err := now.Below(below, nil)
			if err != nil || !slices.ContainsFunc(have, func(found string) bool { return strings.HasSuffix(found, ": "+want) }) {
				t.Errorf("in %d files below %s is not %s of the new %s, only %q, %v: the scenario does not know how to look", files, below, want, node, have, err)
			}
		}
	}
}

// wantMember demands that among the records are a proof of the node by its present identity, and a status signed with it.
func (s *site) wantMember(t *testing.T, holder string, root trust.Root, records []store.Record, node string) {
	t.Helper()
	var member trust.Member
	for _, r := range records {
		if r.Proof == nil {
			continue
		}
		m, err := root.VerifyProof(*r.Proof)
		if err != nil {
			t.Fatalf("a proof that %s holds: %v", holder, err)
		}
		if m.Node == node {
			member = m
		}
	}
	if got, want := member.Identity.String(), s.identity(t, node); got != want {
		t.Errorf("%s holds the proof of identity %s for %s, want %s", holder, got, node, want)
	}
	for _, r := range records {
		if r.Status == nil {
			continue
		}
		if of, err := trust.StatusNode(*r.Status); err != nil || of != node {
			continue
		}
		if _, err := trust.VerifyStatus(node, member.Identity, *r.Status); err != nil {
			t.Errorf("the status of %s that %s holds: %v", node, holder, err)
		}
		return
	}
	t.Errorf("%s holds no status of %s", holder, node)
}

// meshKeyLine returns a line of a node's public mesh key.
func (s *site) meshKeyLine(t *testing.T, node string) string {
	t.Helper()
	file := s.exec(t, node, "sh", "-c", "cat /etc/tinc/atoll/hosts/"+strings.ReplaceAll(node, "-", "_"))
	for line := range strings.Lines(file) {
		if line = strings.TrimSpace(line); len(line) == 64 && !strings.Contains(line, " ") {
			return line
		}
	}
	t.Fatalf("the mesh's file of %s has no key:\n%s", node, file)
	return ""
}

// userData asks a node's metadata service, as root on the node can, for its first-boot data.
func (s *site) userData(t *testing.T, node string) []byte {
	t.Helper()
	data := []byte(s.exec(t, node, "sh", "-c", `set -e
token=$(curl -sf -X PUT -H 'Metadata-Token-Expiry-Seconds: 60' http://169.254.169.254/v1/token)
curl -sf -H "Metadata-Token: $token" http://169.254.169.254/v1/user-data | base64 -d`))
	payload, _, err := platform.Extract(data)
	if err != nil {
		t.Fatalf("the first-boot data of %s: %v", node, err)
	}
	s.given.add(node, payload)
	return payload
}

func vanishedInstance(t *testing.T, s *site) {
	const node = "sg1"
	id, address, public := s.instances(t)[node], s.address(t, node), s.machine(t, node).IPv4
	s.linode(t, http.MethodDelete, fmt.Sprintf("/v4/linode/instances/%d", id))
	plan, err := s.run(t, "plan", "-detailed-exitcode")
	if err == nil || plan.Code != 2 {
		t.Fatalf("the plan has exit code %d, want 2 (there is something to do):\n%s", plan.Code, plan.Output)
	}
	wantMessage(t, plan.Output, address+" must be replaced", `- "`+public+`",`, "1 to add", "1 to destroy",
		fmt.Sprintf("Instance %d of node %q does not exist any more", id, node))
	s.apply(t)
	s.wantHealthy(t, 30*time.Second, everyNode...)
	if list := s.instances(t); len(list) != 1 || list[node] == id {
		t.Errorf("the cloud has the instances %v, want a new one", list)
	}
	s.wantNoChange(t)
}

// shortPatience is a file beside the stack that makes its Linodes wait less long for what will not happen.
const shortPatience = `
resource "atoll_node" "linode" {
  timeouts = { create = "25s" }
}
`

// lostUserData has the cloud lose the first-boot data. The apply fails and says so; the instance is in state, tainted, and
// the next apply replaces it.
func lostUserData(t *testing.T, s *site) {
	const node = "sg1"
	if err := s.Work.Write("patience_override.tf", shortPatience); err != nil {
		t.Fatal(err)
	}
	remove := s.Cloud().Inject(linode.Fault{Method: http.MethodPost, Path: "/linode/instances", LoseUserData: true})
	defer remove()
	address := s.address(t, node)
	s.failApply(t, []string{"-replace=" + address}, "first-boot data")
	if list := s.instances(t); len(list) != 1 {
		t.Errorf("the cloud has the instances %v, want the one that is in state", list)
	}
	if r := s.mustRun(t, "state", "list"); !strings.Contains(r.Stdout, address) {
		t.Errorf("%s is not in state: its instance is orphaned", address)
	}
	if err := s.Work.Remove("patience_override.tf"); err != nil {
		t.Fatal(err)
	}
	s.apply(t)
	if list := s.instances(t); len(list) != 1 {
		t.Errorf("the cloud has the instances %v, want one", list)
	}
	s.wantHealthy(t, 30*time.Second, everyNode...)
	s.wantNoChange(t)
}

// powerCutWhileJoining takes the power from a machine while it joins, and gives it back: the machine goes on with the identity
// that it had made. It cannot be done with joining before the power goes, since nobody whom it could tell is to be reached.
func powerCutWhileJoining(t *testing.T, s *site) {
	const node, file = "sg1", "/var/lib/atoll/identity.pem"
	old := s.machine(t, node)
	s.mustRun(t, "destroy", "-auto-approve", "-target="+s.address(t, node))
	others := []string{network.SiteColo, network.SiteVPS, network.Operator}
	for _, other := range others {
		if err := s.Cut(t.Context(), other, old.Site, false); err != nil {
			t.Fatal(err)
		}
	}
	applied := make(chan error, 1)
	go func() {
		_, err := s.Work.Run(t.Context(), "apply", "-auto-approve")
		applied <- err
	}()
	s.eventually(t, "the new machine has an identity and waits for the others", time.Minute, func(ctx context.Context) error {
		m, err := s.Node(node)
		if err != nil {
			return err
		}
		if m.ID == old.ID || m.Power != "on" {
			return errNot("the machine is %+v", m)
		}
		if _, err := s.Exec(ctx, node, "test", "-e", file); err != nil {
			return err
		}
		h, err := s.Health(ctx, node)
		if err != nil {
			return err
		}
		if h.Healthy || h.Waiting == "" {
			return errNot("its agent says %+v", h)
		}
		t.Logf("its agent is %s and waits for %s", h.State, h.Waiting)
		return nil
	})
	made := s.exec(t, node, "cat", file)
	if err := s.Kill(t.Context(), node); err != nil {
		t.Fatal(err)
	}
	select {
	case err := <-applied:
		t.Fatalf("the apply ended although the node had not joined: %v", err)
	default:
	}
	for _, other := range others {
		if err := s.Heal(t.Context(), other, old.Site); err != nil {
			t.Fatal(err)
		}
	}
	if err := s.PowerOn(t.Context(), node); err != nil {
		t.Fatal(err)
	}
	if err := <-applied; err != nil {
		s.explain(t)
		t.Fatal(err)
	}
	s.wantHealthy(t, 30*time.Second, everyNode...)
	if s.exec(t, node, "cat", file) != made {
		t.Errorf("%s has another identity than the one with which it began to join", node)
	}
	id, err := trust.ParseIdentity([]byte(made))
	if err != nil {
		t.Fatal(err)
	}
	if got, want := s.identity(t, node), id.Public().String(); got != want {
		t.Errorf("the cluster knows %s by the identity %s, want %s", node, got, want)
	}
	s.wantNoChange(t)
}

// changedHostKey has a machine answer with another host key, as one that was exchanged or intercepted does.
func changedHostKey(t *testing.T, s *site) {
	const node = "hk2"
	address := s.address(t, node)
	identity := s.identity(t, node)
	s.exec(t, node, "sh", "-c", `set -e; cd /etc/ssh
mkdir -p /root/kept && mv ssh_host_* /root/kept/
ssh-keygen -q -t ed25519 -N '' -f ssh_host_ed25519_key
systemctl restart ssh`)
	s.failApply(t, []string{"-replace=" + address}, "host key")
	s.exec(t, node, "sh", "-c", "set -e; rm /etc/ssh/ssh_host_*; mv /root/kept/* /etc/ssh/; rmdir /root/kept; systemctl restart ssh")
	s.apply(t, "-replace="+address)
	s.wantHealthy(t, 30*time.Second, everyNode...)
	if now := s.identity(t, node); now == identity {
		t.Errorf("%s was replaced and still has the identity %s", node, now)
	}
	s.wantNoChange(t)
}

// deadMachine removes a node whose machine has no power. When the machine comes back, its agent learns that it was removed
// and clears up after itself; then it can be adopted again.
func deadMachine(t *testing.T, s *site) {
	const node = "hk2"
	address := s.address(t, node)
	if err := s.Kill(t.Context(), node); err != nil {
		t.Fatal(err)
	}
	s.mustRun(t, "destroy", "-auto-approve", "-target="+address)
	s.wantHealthy(t, 30*time.Second, "hk1", "sg1")
	if err := s.PowerOn(t.Context(), node); err != nil {
		t.Fatal(err)
	}
	if err := s.WaitSSH(t.Context(), node); err != nil {
		t.Fatal(err)
	}
	s.eventually(t, "the machine that came back leaves", time.Minute, func(ctx context.Context) error {
		if err := s.Ping(ctx, node, "hk1"); err == nil {
			return errNot("it is still in the mesh")
		}
		h, err := s.Health(ctx, node)
		if err == nil && h.State == "joined" {
			return errNot("it still believes to be a member: %+v", h)
		}
		return nil
	})
	s.wantHealthy(t, 10*time.Second, "hk1", "sg1")
	s.apply(t)
	s.wantHealthy(t, 30*time.Second, everyNode...)
	s.wantNoChange(t)
}

// destroyLeavesNothing removes everything and looks for what is left.
func destroyLeavesNothing(t *testing.T, s *site) {
	s.mustRun(t, "destroy", "-auto-approve")
	if list := s.instances(t); len(list) != 0 {
		t.Errorf("the cloud still has the instances %v", list)
	}
	for _, machine := range []string{"hk1", "hk2"} {
		s.wantClean(t, machine)
	}
	if r := s.mustRun(t, "state", "list"); strings.TrimSpace(r.Stdout) != "" {
		t.Errorf("the state still has %s", r.Stdout)
	}
	s.wantNoTrace(t)
}

// leftovers prints what an agent leaves on a machine. The table atoll_base is the image's own firewall, and stays.
const leftovers = `
ls -d /usr/local/bin/atolld /etc/tinc/atoll /etc/systemd/system/*atoll* /etc/systemd/system/*/*atoll* /var/lib/atoll/* /etc/atoll/* 2>/dev/null
pgrep -a 'atolld|tincd'
ip -brief link show dev atoll0 2>/dev/null
nft list tables 2>/dev/null | grep atoll | grep -vx 'table inet atoll_base'
systemctl list-units --all --plain --no-legend '*atoll*'
true`

// wantClean demands that nothing of Atoll is on a machine.
func (s *site) wantClean(t *testing.T, machine string) {
	t.Helper()
	if left := strings.TrimSpace(s.exec(t, machine, "sh", "-c", leftovers)); left != "" {
		t.Errorf("%s still has:\n%s", machine, left)
	}
}
