package cli_test

import (
	"encoding/json"
	"net"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/atollhq/terraform-provider-atoll/internal/api"
	"github.com/atollhq/terraform-provider-atoll/internal/cmd/atoll/cli"
	"github.com/atollhq/terraform-provider-atoll/internal/store"
	"github.com/atollhq/terraform-provider-atoll/internal/trust"
)

// decider is an agent in an outage that heeds what the operator decides.
type decider struct {
	keeper
	mu   sync.Mutex
	view api.DatabaseView
	deaf bool
}

func (*decider) Admit(trust.Member) ([]store.Record, error) { return nil, nil }

func (d *decider) Status() api.ClusterStatus {
	d.mu.Lock()
	defer d.mu.Unlock()
	s := d.keeper.Status()
	v := d.view
	if r, decided := d.Store.Snapshot().Recoveries["app"]; decided && !d.deaf {
		v.Primary, v.Incarnation, v.Outage = "hk1", r.Incarnation, false
	}
	s.Databases = map[string]api.DatabaseView{"app": v}
	return s
}

func newDecider(t *testing.T, v api.DatabaseView) (o *operator, d *decider, endpoint string) {
	t.Helper()
	o = newOperator(t)
	key := o.withKey(t)
	held := store.New(trust.Root{Cluster: "web", Key: key.Public()}, store.Options{Now: func() time.Time { return now }})
	d = &decider{keeper: keeper{api.StoreBackend{Store: held, Node: "hk1", Now: func() time.Time { return now }}}, view: v}
	endpoint, _ = serveBackend(t, d, key, "hk1")
	return o, d, endpoint
}

func TestRecover(t *testing.T) {
	only := func(nodes ...string) api.DatabaseView {
		v := lostDatabase()
		for name, m := range v.Members {
			m.Stale = true
			for _, n := range nodes {
				m.Stale = m.Stale && n != name
			}
			v.Members[name] = m
		}
		return v
	}
	tests := []struct {
		name  string
		view  api.DatabaseView
		args  []string
		stdin string
		code  int
		// says is somewhere in the output; loss is what was decided.
		says []string
		loss []string
	}{
		{
			"only looking", lostDatabase(), nil, "", cli.Degraded,
			[]string{"2 of its 3 voting members are heard", "hk2 was last heard of at 2026-03-14T15:02:26Z: start its machine", groupUUID + ":1-120", "--accept-loss-from hk2"},
			nil,
		},
		{"nothing to recover", onlineDatabase(), nil, "", cli.Healthy, []string{"takes writes at hk1: there is nothing to recover"}, nil},
		{"nothing to give up", onlineDatabase(), []string{"--accept-loss-from", "hk2"}, "app\n", cli.Failed, []string{"there is nothing to recover, and nothing was decided"}, nil},
		{
			"decided", lostDatabase(),
			[]string{"--accept-loss-from", "hk2", "--reason", "burnt"},
			"app\n", cli.Healthy,
			[]string{"nobody knows what hk2 has had since it was last heard of", "switch it off", "Type the name", "database app takes writes at hk1"},
			[]string{"hk2"},
		},
		{"without asking", lostDatabase(), []string{"--accept-loss-from", "hk2", "--yes"}, "", cli.Healthy, []string{"takes writes at hk1"}, []string{"hk2"}},
		{
			"one that has more", lostDatabase(),
			[]string{"--accept-loss-from", "hk1,hk2"},
			"app\n", cli.Healthy,
			[]string{"hk1 has 2 transactions that no other member has (" + groupUUID + ":119-120)"},
			[]string{"hk1", "hk2"},
		},
		{"a majority that is not heard", only("sg1"), []string{"--accept-loss-from", "hk1,hk2"}, "app\n", cli.Healthy, []string{"are a majority and are not heard from here", "hk1 had 2 transactions"}, []string{"hk1", "hk2"}},
		{"one whose data is gone", wiped(), []string{"--accept-loss-from", "hk2", "--yes"}, "", cli.Healthy, []string{"3 of its 3 voting members are heard", "hk2: has lost its data", "hk2 has no data any more: whatever it had acknowledged"}, []string{"hk2"}},
		{"second thoughts", lostDatabase(), []string{"--accept-loss-from", "hk2"}, "no\n", cli.Failed, []string{"nothing was decided: that is not the database's name"}, nil},
		{"nobody there", lostDatabase(), []string{"--accept-loss-from", "hk2"}, "", cli.Failed, []string{"there is nobody to ask"}, nil},
		{"too few named", only("hk1"), []string{"--accept-loss-from", "hk2", "--yes"}, "", cli.Failed, []string{"sg1 does not answer either, and is not named"}, nil},
		{"all named", lostDatabase(), []string{"--accept-loss-from", "hk1,hk2,sg1", "--yes"}, "", cli.Failed, []string{"names every member"}, nil},
		{"a stranger", lostDatabase(), []string{"--accept-loss-from", "fr1", "--yes"}, "", cli.Failed, []string{`node "fr1" is no voting member`}, nil},
		{
			"a leader that is gone", promised(),
			[]string{"--accept-loss-from", "fr1", "--yes"},
			"", cli.Healthy,
			[]string{"sg1 has promised to follow fr1, which is no member any more", "fr1 is no member any more, and sg1 has promised"},
			[]string{"fr1"},
		},
		{"a bad reason", lostDatabase(), []string{"--accept-loss-from", "hk2", "--yes", "--reason", "a\nb"}, "", cli.Failed, []string{"reason"}, nil},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			o, d, endpoint := newDecider(t, tt.view)
			o.stdin = tt.stdin
			r := o.run(t, append([]string{"recover", "--database", "app", "--cluster", "web", "--endpoint", endpoint}, tt.args...)...)
			if r.code != tt.code {
				t.Errorf("exit code %d, want %d: %q, %q", r.code, tt.code, r.stdout, r.stderr)
			}
			for _, want := range tt.says {
				if !strings.Contains(r.stdout+r.stderr, want) {
					t.Errorf("the output lacks %q:\n%s%s", want, r.stdout, r.stderr)
				}
			}
			got, decided := d.Store.Snapshot().Recoveries["app"]
			if decided != (tt.loss != nil) {
				t.Fatalf("decided: %+v", got)
			}
			if diff := cmp.Diff(tt.loss, got.AcceptLossFrom); diff != "" {
				t.Errorf("loss (-want +got):\n%s", diff)
			}
			if decided && got.Incarnation != tt.view.NextIncarnation {
				t.Errorf("incarnation %d, want %d", got.Incarnation, tt.view.NextIncarnation)
			}
		})
	}
}

func TestRecoverThatDoesNotHelp(t *testing.T) {
	o, d, endpoint := newDecider(t, lostDatabase())
	d.deaf = true
	r := o.run(t, "recover", "--cluster", "web", "--endpoint", endpoint, "--accept-loss-from", "hk2", "--yes", "--wait", "300ms")
	if r.code != cli.Failed || !strings.Contains(r.stderr, "1 of 1 nodes have taken the decision, but database app does not take writes after 300ms") {
		t.Errorf("exit code %d, %q", r.code, r.stderr)
	}
	r = o.run(t, "recover", "--cluster", "web", "--endpoint", endpoint, "--json")
	var got struct {
		Writable bool
		Members  map[string]struct{ Heard bool }
		Waiting  []string
	}
	if err := json.Unmarshal([]byte(r.stdout), &got); err != nil || got.Writable || got.Members["hk2"].Heard || !got.Members["hk1"].Heard || len(got.Waiting) != 3 {
		t.Errorf("%v: exit code %d, %s", err, r.code, r.stdout)
	}
}

// TestRecoverAsksTheDeadOnce: a node that does not answer takes all of --timeout, so that nobody asks it again while others answer.
func TestRecoverAsksTheDeadOnce(t *testing.T) {
	o, d, endpoint := newDecider(t, lostDatabase())
	d.deaf = true
	silent, err := new(net.ListenConfig).Listen(t.Context(), "tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	var asked atomic.Int32
	done := make(chan struct{})
	go func() {
		defer close(done)
		for {
			conn, err := silent.Accept()
			if err != nil {
				return
			}
			asked.Add(1)
			defer func() { _ = conn.Close() }()
		}
	}()
	r := o.run(t, "recover", "--cluster", "web", "--endpoint", endpoint, "--endpoint", silent.Addr().String(), "--timeout", "5s",
		"--accept-loss-from", "hk2", "--yes", "--wait", "300ms")
	if err := silent.Close(); err != nil {
		t.Error(err)
	}
	<-done
	if r.code != cli.Failed || !strings.Contains(r.stderr, "1 of 2 nodes have taken the decision") {
		t.Errorf("exit code %d, %q", r.code, r.stderr)
	}
	if n := asked.Load(); n != 1 {
		t.Errorf("the node that does not answer was asked %d times", n)
	}
}
