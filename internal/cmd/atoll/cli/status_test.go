package cli_test

import (
	"bytes"
	"context"
	"encoding/json"
	"flag"
	"log/slog"
	"net"
	"net/http"
	"net/netip"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/atollhq/terraform-provider-atoll/internal/api"
	"github.com/atollhq/terraform-provider-atoll/internal/cmd/atoll/cli"
	"github.com/atollhq/terraform-provider-atoll/internal/spec"
	"github.com/atollhq/terraform-provider-atoll/internal/store"
	"github.com/atollhq/terraform-provider-atoll/internal/trust"
)

var update = flag.Bool("update", false, "write testdata/*.golden anew")

// agent is an agent's real API server, whose view of the cluster a test decides.
type agent struct {
	api.Backend
	status api.ClusterStatus
}

func (a *agent) Status() api.ClusterStatus                  { return a.status }
func (a *agent) Admit(trust.Member) ([]store.Record, error) { return nil, nil }

// serve starts the agent as a node of cluster "web" and returns its endpoint and identity.
func (a *agent) serve(t *testing.T, key *trust.SigningKey, node string) (endpoint, identity string) {
	t.Helper()
	return serveBackend(t, a, key, node)
}

func serveBackend(t *testing.T, b api.Backend, key *trust.SigningKey, node string) (endpoint, identity string) {
	t.Helper()
	root := trust.Root{Cluster: "web", Key: key.Public()}
	id, err := trust.NewIdentity()
	if err != nil {
		t.Fatal(err)
	}
	ticket, err := trust.IssueTicket(key, trust.TicketRequest{Cluster: "web", Node: node, Lifetime: time.Hour, Now: time.Now()})
	if err != nil {
		t.Fatal(err)
	}
	proof, err := trust.MakeProof(ticket.Envelope, ticket.Key, id, trust.Claim{
		Wire: spec.WireVersion, Cluster: "web", Node: node, Ticket: ticket.Ticket.ID, Identity: id.Public(), Made: time.Now(),
	})
	if err != nil {
		t.Fatal(err)
	}
	config, err := trust.ServerTLS(id, func() trust.Proof { return proof }, root)
	if err != nil {
		t.Fatal(err)
	}
	listener, err := new(net.ListenConfig).Listen(t.Context(), "tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	server := api.NewServer(config, api.NewHandler(root, b, time.Now), slog.New(slog.DiscardHandler))
	done := make(chan error, 1)
	go func() { done <- server.ServeTLS(listener, "", "") }()
	t.Cleanup(func() {
		if err := server.Close(); err != nil {
			t.Error(err)
		}
		if err := <-done; err != http.ErrServerClosed { //nolint:errorlint // Serve returns this very value
			t.Error(err)
		}
	})
	return listener.Addr().String(), id.Public().String()
}

// closedEndpoint is an endpoint at which nothing listens.
func closedEndpoint(t *testing.T) string {
	t.Helper()
	listener, err := new(net.ListenConfig).Listen(t.Context(), "tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	if err := listener.Close(); err != nil {
		t.Fatal(err)
	}
	return listener.Addr().String()
}

func node(name, endpoint, identity string) map[string]any {
	return map[string]any{"cluster": map[string]any{"name": "web"}, "name": name, "endpoints": []string{endpoint}, "identity": identity}
}

// cluster is a status of three nodes of which nothing is wrong.
func cluster(seen string) api.ClusterStatus {
	since := now.Add(-3 * time.Hour)
	good := []spec.Condition{
		{Type: spec.ConditionJoined, Status: spec.ConditionTrue, Reason: "Admitted", Since: since},
		{Type: spec.ConditionMeshReady, Status: spec.ConditionTrue, Reason: "AllReachable", Since: now.Add(-90 * time.Second)},
		{Type: spec.ConditionConflict, Status: spec.ConditionFalse, Reason: "None", Since: since},
	}
	view := func(provider, site, address string) api.NodeView {
		return api.NodeView{
			Provider: provider, Site: site, MeshAddress: netip.MustParseAddr(address), State: api.NodeReady,
			Since: since, Version: "1.2.3", Conditions: good,
		}
	}
	direct := func(rtt float64) api.Direction {
		return api.Direction{State: api.UpDirect, Since: now.Add(-10 * time.Minute), RTT: rtt}
	}
	return api.ClusterStatus{
		Cluster: "web", Seen: seen, At: now, Healthy: true,
		Nodes: map[string]api.NodeView{
			"hk1": view("own", "hk-colo", "10.99.0.11"),
			"hk2": view("vps", "hk-vps", "10.99.0.12"),
			"sg1": view("linode", "ap-south", "10.99.0.13"),
		},
		Links: map[string]api.LinkView{
			"hk1.hk2": {From: "hk1", To: "hk2", There: direct(0.8), Back: direct(0.9)},
			"hk1.sg1": {From: "hk1", To: "sg1", There: direct(34.2), Back: direct(34.6)},
			"hk2.sg1": {From: "hk2", To: "sg1", There: direct(33.1), Back: direct(33)},
		},
	}
}

// cut returns the cluster after the path between hk1 and sg1 was lost.
func cut() api.ClusterStatus {
	s := cluster("hk1")
	link := s.Links["hk1.sg1"]
	link.There = api.Direction{State: api.UpIndirect, Via: "hk2", Since: now.Add(-40 * time.Second), RTT: 68.4, Loss: 0.02}
	link.Back = api.Direction{State: api.Down, Since: now.Add(-41 * time.Second), Loss: 1}
	s.Links["hk1.sg1"] = link
	sick := s.Nodes["sg1"]
	sick.State, sick.Since = api.NodeNotReady, now.Add(-41*time.Second)
	sick.Conditions = []spec.Condition{
		{Type: spec.ConditionJoined, Status: spec.ConditionTrue, Since: now.Add(-3 * time.Hour)},
		{Type: spec.ConditionMeshReady, Status: spec.ConditionFalse, Reason: "Unreachable", Message: "hk1 does not answer", Since: now.Add(-41 * time.Second)},
	}
	s.Nodes["sg1"] = sick
	s.Healthy = false
	s.Reasons = []string{"node sg1 is not-ready: hk1 does not answer", "link sg1 -> hk1 is down since 2026-03-14T15:08:45Z"}
	s.Warnings = []string{"link hk2 -> sg1 loses 7 % of its packets"}
	return s
}

func golden(t *testing.T, file, got string) {
	t.Helper()
	file = filepath.Join("testdata", file)
	if *update {
		if err := os.WriteFile(file, []byte(got), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	want, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(string(want), got); diff != "" {
		t.Errorf("%s (-want +got; -update writes it anew):\n%s", file, diff)
	}
}

func TestStatus(t *testing.T) {
	tests := []struct {
		name   string
		status api.ClusterStatus
		code   int
	}{
		{"healthy", cluster("hk1"), cli.Healthy},
		{"cut", cut(), cli.Degraded},
		{"large", large(), cli.Degraded},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			home, err := os.Getwd()
			if err != nil {
				t.Fatal(err)
			}
			o := newOperator(t)
			key := o.withKey(t)
			endpoint, identity := (&agent{status: tt.status}).serve(t, key, "hk1")
			write(t, "terraform.tfstate", stateWith(t, resource("atoll_node", node("hk1", endpoint, identity))))
			r := o.run(t, "status")
			if r.code != tt.code {
				t.Errorf("exit code %d, want %d: %s", r.code, tt.code, r.stderr)
			}
			t.Chdir(home)
			golden(t, tt.name+".golden", r.stdout)
		})
	}
}

// large is a mesh of which one screen cannot show every link.
func large() api.ClusterStatus {
	s := cluster("hk1")
	for _, a := range "abcdefgh" {
		for _, b := range "abcdefgh" {
			if a < b {
				l := s.Links["hk1.hk2"]
				l.From, l.To = string(a), string(b)
				s.Links[spec.LinkName(l.From, l.To)] = l
			}
		}
	}
	l := s.Links["a.b"]
	l.Back = api.Direction{State: api.UnknownLink}
	s.Links["a.b"] = l
	s.Healthy, s.Reasons = false, []string{"link b -> a is not measured yet"}
	return s
}

func TestStatusJSON(t *testing.T) {
	o := newOperator(t)
	key := o.withKey(t)
	endpoint, _ := (&agent{status: cut()}).serve(t, key, "hk1")
	r := o.run(t, "status", "--json", "--endpoint", endpoint, "--endpoint", closedEndpoint(t), "--cluster", "web")
	if r.code != cli.Degraded {
		t.Errorf("exit code %d, want %d: %s", r.code, cli.Degraded, r.stderr)
	}
	var got struct {
		api.ClusterStatus
		Unanswered map[string]string
	}
	if err := json.Unmarshal([]byte(r.stdout), &got); err != nil {
		t.Fatalf("no JSON: %v\n%s", err, r.stdout)
	}
	if got.Seen != "hk1" || got.Links["hk1.sg1"].There.Via != "hk2" || len(got.Unanswered) != 1 {
		t.Errorf("got %+v", got)
	}
}

// TestStatusOfASplitCluster has two nodes with different views: the one that sees more of the cluster is shown, and what
// the other finds wrong is not hidden.
func TestStatusOfASplitCluster(t *testing.T) {
	o := newOperator(t)
	key := o.withKey(t)
	lonely, lonelyID := (&agent{status: cut()}).serve(t, key, "hk1")
	joined, joinedID := (&agent{status: cluster("hk2")}).serve(t, key, "hk2")
	o.stdin = stateWith(t, resource("atoll_node", node("hk1", lonely, lonelyID), node("hk2", joined, joinedID), node("sg1", closedEndpoint(t), "")))
	r := o.run(t, "status", "--state", "-")
	if r.code != cli.Degraded {
		t.Errorf("exit code %d, want %d: %s", r.code, cli.Degraded, r.stderr)
	}
	for _, want := range []string{"as hk2 sees it at", "as hk1 sees it: link sg1 -> hk1 is down", "did not answer from here:\n  - sg1: "} {
		if !strings.Contains(r.stdout, want) {
			t.Errorf("the screen lacks %q:\n%s", want, r.stdout)
		}
	}
}

// TestStatusOfHalvesThatNeverMet asks two nodes that are each alone and content.
func TestStatusOfHalvesThatNeverMet(t *testing.T) {
	o := newOperator(t)
	key := o.withKey(t)
	alone := func(name string) map[string]any {
		s := cluster(name)
		s.Nodes = map[string]api.NodeView{name: s.Nodes[name]}
		s.Links = nil
		endpoint, identity := (&agent{status: s}).serve(t, key, name)
		return node(name, endpoint, identity)
	}
	write(t, "terraform.tfstate", stateWith(t, resource("atoll_node", alone("hk1"), alone("sg1"))))
	r := o.run(t, "status")
	if r.code != cli.Degraded || !strings.Contains(r.stdout, "hk1 does not know node sg1") {
		t.Errorf("exit code %d, want %d and a reason:\n%s", r.code, cli.Degraded, r.stdout)
	}
}

// TestStatusTrustsNobodyElse calls a node of a cluster with another signing key, and one whose identity is not the pinned one.
func TestStatusTrustsNobodyElse(t *testing.T) {
	o := newOperator(t)
	key := o.withKey(t)
	foreign, err := trust.NewSigningKey()
	if err != nil {
		t.Fatal(err)
	}
	stranger, _ := (&agent{status: cluster("hk1")}).serve(t, foreign, "hk1")
	replaced, _ := (&agent{status: cluster("hk1")}).serve(t, key, "hk1")
	id, err := trust.NewIdentity()
	if err != nil {
		t.Fatal(err)
	}
	for name, n := range map[string]map[string]any{
		"another signing key": node("hk1", stranger, ""), "another identity": node("hk1", replaced, id.Public().String()),
	} {
		t.Run(name, func(t *testing.T) {
			o.stdin = stateWith(t, resource("atoll_node", n))
			if r := o.run(t, "status", "--state", "-"); r.code != cli.Failed || r.stdout != "" {
				t.Errorf("exit code %d, %q, want a refusal", r.code, r.stdout)
			}
		})
	}
}

func TestStatusCannotTell(t *testing.T) {
	o := newOperator(t)
	if r := o.run(t, "status"); r.code != cli.Failed || !strings.Contains(r.stderr, "no signing key") {
		t.Errorf("without a signing key: exit code %d, %q", r.code, r.stderr)
	}
	o.withKey(t)
	one := node("hk1", closedEndpoint(t), "")
	other := node("a", closedEndpoint(t), "")
	other["cluster"] = map[string]any{"name": "lab"}
	tests := []struct {
		name, state string
		args        []string
		want        string
	}{
		{"nobody answers", stateWith(t, resource("atoll_node", one)), nil, "no node of the cluster could be asked"},
		{"two clusters", stateWith(t, resource("atoll_node", one, other)), nil, "choose one with --cluster"},
		{"no such cluster", stateWith(t, resource("atoll_node", one)), []string{"--cluster", "lab"}, `no node of cluster "lab"`},
		{"nothing made yet", stateWith(t), nil, "there is no Terraform state with an atoll_node"},
		{"encrypted", `{"encrypted_data":"AAAA"}`, nil, "tofu state pull"},
		{"endpoint without a cluster", "", []string{"--endpoint", "127.0.0.1:1"}, "--cluster"},
		{"no such flag", "", []string{"--colour"}, "unknown flag"},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			o.stdin = tt.state
			r := o.run(t, append([]string{"status", "--state", "-"}, tt.args...)...)
			if r.code != cli.Failed || !strings.Contains(r.stderr, tt.want) {
				t.Errorf("exit code %d, %q, want an error with %q", r.code, r.stderr, tt.want)
			}
		})
	}
}

// lines passes on how often the screen was drawn.
type lines struct {
	bytes.Buffer
	drawn chan struct{}
}

func (l *lines) Write(p []byte) (int, error) {
	if bytes.Contains(p, []byte("cluster web is")) {
		select {
		case l.drawn <- struct{}{}:
		default:
		}
	}
	return l.Buffer.Write(p)
}

func TestStatusWatch(t *testing.T) {
	o := newOperator(t)
	key := o.withKey(t)
	endpoint, _ := (&agent{status: cut()}).serve(t, key, "hk1")
	ctx, cancel := context.WithCancel(t.Context())
	screen := &lines{drawn: make(chan struct{})}
	code := make(chan int)
	go func() {
		code <- cli.Run(ctx, cli.Environment{
			Args:   []string{"status", "--watch", "--interval", "1ms", "--endpoint", endpoint, "--cluster", "web"},
			Stdout: screen, Stderr: new(bytes.Buffer), Now: time.Now,
			Getenv: func(name string) string { return o.env[name] },
		})
	}()
	for range 3 {
		<-screen.drawn
	}
	cancel()
	if got := <-code; got != cli.Degraded {
		t.Errorf("exit code %d, want that of the last look, %d", got, cli.Degraded)
	}
}
