package cli_test

import (
	"context"
	"encoding/json"
	"os"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/atollhq/terraform-provider-atoll/internal/api"
	"github.com/atollhq/terraform-provider-atoll/internal/cmd/atoll/cli"
	"github.com/atollhq/terraform-provider-atoll/internal/spec"
)

const groupUUID = "0f3c6f6e-6a4f-4f6e-9d5b-0123456789ab"

// part is a voting member that is online.
func part(change func(*api.DatabaseMemberView)) api.DatabaseMemberView {
	m := api.DatabaseMemberView{
		Role: spec.MemberVoter, Weight: 50, State: spec.MemberOnline, Since: now.Add(-time.Hour), Version: "9.7.4", Incarnation: 2, Seen: now.Add(-time.Second),
		Router: spec.RouterStatus{Running: true, Writer: "hk1", Writable: true},
	}
	if change != nil {
		change(&m)
	}
	return m
}

// onlineDatabase is a database of three members and a client of which nothing is wrong.
func onlineDatabase() api.DatabaseView {
	return api.DatabaseView{
		Engine: spec.DatabaseMySQL, Primary: "hk1", Since: now.Add(-time.Hour), Votes: 3, Online: 3, Incarnation: 2, NextIncarnation: 3,
		Members: map[string]api.DatabaseMemberView{
			"hk1": part(func(m *api.DatabaseMemberView) { m.Primary = true }),
			"hk2": part(func(m *api.DatabaseMemberView) { m.Lag, m.Queue = 0.4, 12 }),
			"sg1": part(nil),
			"web": part(func(m *api.DatabaseMemberView) {
				m.Role, m.State, m.Version = spec.MemberClient, spec.MemberClientOnly, ""
			}),
		},
	}
}

// lostDatabase is one in an outage: hk2 does not answer, the others have different amounts of data.
func lostDatabase() api.DatabaseView {
	stranded := func(position string) api.DatabaseMemberView {
		return part(func(m *api.DatabaseMemberView) {
			m.State, m.Since, m.Position, m.Router.Writer, m.Router.Writable = spec.MemberStranded, now.Add(-time.Minute), position, "", false
			m.Problem = "waits for hk2, which was last heard of at 2026-03-14T15:02:26Z"
		})
	}
	return api.DatabaseView{
		Engine: spec.DatabaseMySQL, Votes: 3, Incarnation: 2, NextIncarnation: 4, Outage: true,
		Members: map[string]api.DatabaseMemberView{
			"hk1": stranded(groupUUID + ":1-120"), "sg1": stranded(groupUUID + ":1-118"),
			"hk2": part(func(m *api.DatabaseMemberView) { m.Stale, m.Seen = true, now.Add(-7*time.Minute) }),
		},
	}
}

// promised is a database in an outage of which all members are heard, one of them bound to a node that was removed.
func promised() api.DatabaseView {
	v := lostDatabase()
	hk2, sg1 := v.Members["hk1"], v.Members["sg1"]
	sg1.Promised = "fr1"
	v.Members["hk2"], v.Members["sg1"] = hk2, sg1
	return v
}

// wiped is a database in an outage of which all members are heard, one of them without its data.
func wiped() api.DatabaseView {
	v := lostDatabase()
	v.Members["hk2"] = part(func(m *api.DatabaseMemberView) {
		m.State, m.Problem, m.Router = spec.MemberPreparing, "has lost its data, which was of life 2 of the group, and no other member is online", spec.RouterStatus{}
	})
	return v
}

func withDatabase(v api.DatabaseView) api.ClusterStatus {
	s := cluster("hk1")
	s.Databases = map[string]api.DatabaseView{"app": v}
	return s
}

func TestStatusOfDatabases(t *testing.T) {
	home, err := os.Getwd()
	if err != nil {
		t.Fatal(err)
	}
	rolling := onlineDatabase()
	rolling.Rollout = &api.RolloutView{Done: []string{"sg1"}, Waiting: []string{"hk1", "hk2"}, Turn: "hk2", Stopped: "hk2 is not back after 5m0s: unknown variable 'innodb_bufer'"}
	rolling.Members["hk2"] = part(func(m *api.DatabaseMemberView) {
		m.State, m.RestartNeeded, m.Problem = spec.MemberDown, true, "the server does not start"
		m.Router = spec.RouterStatus{}
	})
	for file, v := range map[string]api.DatabaseView{"database.golden": onlineDatabase(), "outage.golden": lostDatabase(), "rollout.golden": rolling} {
		t.Run(file, func(t *testing.T) {
			o := newOperator(t)
			key := o.withKey(t)
			endpoint, _ := (&agent{status: withDatabase(v)}).serve(t, key, "hk1")
			r := o.run(t, "status", "--cluster", "web", "--endpoint", endpoint)
			if r.code != cli.Healthy {
				t.Errorf("exit code %d: %s", r.code, r.stderr)
			}
			t.Chdir(home)
			golden(t, file, r.stdout)
		})
	}
}

// group is an agent that has a database and switches it over.
type group struct {
	agent
	mu    sync.Mutex
	asked []api.SwitchoverRequest
	// refuse is why it does not switch over; absent that it has no part in the database; slow how often it has to be asked again.
	refuse string
	absent bool
	slow   int
	// only is the one that a dry run finds refused, all when empty; old tells that it knows no dry run.
	only string
	old  bool
}

func (g *group) Switchover(_ context.Context, database string, r api.SwitchoverRequest) (api.SwitchoverResult, error) {
	g.mu.Lock()
	defer g.mu.Unlock()
	g.asked = append(g.asked, r)
	switch {
	case g.absent || database != "app":
		return api.SwitchoverResult{}, &api.Error{StatusCode: 404, Reason: api.ReasonNoSuchDatabase, Message: "no part in it"}
	case len(g.asked) <= g.slow:
		return api.SwitchoverResult{To: r.To, Progress: "waiting for 2 transactions"}, nil
	case g.refuse != "":
		return api.SwitchoverResult{Done: true, From: "hk1", To: r.To, Reason: g.refuse, Message: "transaction 7 of nextcloud runs for 95 s", Took: 1200}, nil
	default:
		return api.SwitchoverResult{Done: true, From: "hk1", To: r.To, Took: 330}, nil
	}
}

func (g *group) SwitchoverCheck(_ context.Context, database, to string) (api.SwitchoverCheck, error) {
	g.mu.Lock()
	defer g.mu.Unlock()
	c := api.SwitchoverCheck{From: "hk1", To: to, Queue: 12, MostQueue: 500}
	switch {
	case g.absent || database != "app":
		return c, &api.Error{StatusCode: 404, Reason: api.ReasonNoSuchDatabase, Message: "no part in it"}
	case g.old:
		return c, &api.Error{StatusCode: 405, Reason: api.ReasonInternal, Message: "answered 405"}
	case g.refuse != "" && (g.only == "" || g.only == to):
		c.Transactions = []string{"connection 7 of user nextcloud in shop, 95 s, 3 rows changed"}
		c.Reason, c.Message = g.refuse, "transactions at the primary, hk1, have been under way for more than 5s and would be lost: "+c.Transactions[0]
	}
	return c, nil
}

func TestSwitchover(t *testing.T) {
	tests := []struct {
		name   string
		view   api.DatabaseView
		group  *group
		args   []string
		code   int
		stdout string
		stderr []string
		asked  int
	}{
		{
			"done", onlineDatabase(), &group{slow: 2},
			[]string{"--database", "app", "--to", "hk2"},
			cli.Healthy,
			"hk2 takes the writes of database app, hk1 before; it took 330ms\n",
			[]string{"database app: hk1 takes writes; hk2 is online, lag 0.4 s, 12 waiting", "waiting for 2 transactions"},
			3,
		},
		{"the only database need not be named", onlineDatabase(), &group{}, []string{"--to", "sg1", "--patience", "2m"}, cli.Healthy, "sg1 takes the writes", nil, 1},
		{"already", onlineDatabase(), &group{}, []string{"--to", "hk1"}, cli.Healthy, "hk1 takes the writes of database app, as before\n", nil, 0},
		{"transactions", onlineDatabase(), &group{refuse: "long-transactions"}, []string{"--to", "sg1"}, cli.Failed, "", []string{"transaction 7 of nextcloud runs for 95 s (long-transactions)"}, 1},
		{"a client", onlineDatabase(), &group{}, []string{"--to", "web"}, cli.Failed, "", []string{`node "web" has no data of database "app"; its voting members are hk1, hk2, sg1`}, 0},
		{"a stranger", onlineDatabase(), &group{}, []string{"--to", "fr1"}, cli.Failed, "", []string{`node "fr1" has no data`}, 0},
		{"an outage", lostDatabase(), &group{}, []string{"--to", "sg1"}, cli.Failed, "", []string{"atoll recover --database app shows what it waits for"}, 0},
		{"no such database", onlineDatabase(), &group{}, []string{"--database", "shop", "--to", "sg1"}, cli.Failed, "", []string{`cluster "web" has no database "shop"; it has app`}, 0},
		{"nobody has a part", onlineDatabase(), &group{absent: true}, []string{"--to", "sg1"}, cli.Failed, "", []string{`no member of database "app" could be asked`}, 1},
		{"no node", onlineDatabase(), &group{}, nil, cli.Failed, "", []string{"at least one of the flags in the group [dry-run to] is required"}, 0},
		{"no patience", onlineDatabase(), &group{}, []string{"--to", "sg1", "--patience", "0s"}, cli.Failed, "", []string{"--patience 0s is not above 0"}, 0},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			o := newOperator(t)
			key := o.withKey(t)
			tt.group.status = withDatabase(tt.view)
			endpoint, _ := serveBackend(t, tt.group, key, "hk1")
			r := o.run(t, append([]string{"switchover", "--cluster", "web", "--endpoint", endpoint}, tt.args...)...)
			if r.code != tt.code || !strings.Contains(r.stdout, tt.stdout) {
				t.Errorf("exit code %d, %q, %q; want %d, %q", r.code, r.stdout, r.stderr, tt.code, tt.stdout)
			}
			for _, want := range tt.stderr {
				if !strings.Contains(r.stderr, want) {
					t.Errorf("standard error lacks %q:\n%s", want, r.stderr)
				}
			}
			if len(tt.group.asked) != tt.asked {
				t.Errorf("asked %d times, want %d", len(tt.group.asked), tt.asked)
			}
			for _, a := range tt.group.asked {
				if a.ID != tt.group.asked[0].ID || a.Patience <= 0 {
					t.Errorf("asked %+v", tt.group.asked)
				}
			}
		})
	}
}

// TestSwitchoverDryRun looks, and must order nothing.
func TestSwitchoverDryRun(t *testing.T) {
	down := onlineDatabase()
	down.Members["hk2"] = part(func(m *api.DatabaseMemberView) { m.State, m.Problem = spec.MemberDown, "the server does not start" })
	const long = "connection 7 of user nextcloud in shop, 95 s, 3 rows changed"
	tests := []struct {
		name  string
		view  api.DatabaseView
		group *group
		args  []string
		code  int
		says  []string
	}{
		{
			"one", onlineDatabase(), &group{},
			[]string{"--database", "app", "--to", "hk2"},
			cli.Healthy,
			[]string{"database app: hk1 takes writes; nothing is changed", "hk2       50  0.4 s, 12 waiting  12, may be 500  would begin"},
		},
		{"all that could", onlineDatabase(), &group{}, nil, cli.Healthy, []string{"hk2 ", "sg1 "}},
		{"the primary itself", onlineDatabase(), &group{}, []string{"--to", "hk1"}, cli.Healthy, []string{"hk1 takes writes; nothing is changed"}},
		{
			"transactions", onlineDatabase(), &group{refuse: "long-transactions"},
			[]string{"--to", "sg1"},
			cli.Failed,
			[]string{"would be refused: long-transactions", "in the way", long, `Error: a switchover of database "app" to sg1 would be refused (long-transactions)`},
		},
		{"one of two", onlineDatabase(), &group{refuse: "lag", only: "sg1"}, nil, cli.Healthy, []string{"would begin", "would be refused: lag"}},
		{"one is down", down, &group{}, nil, cli.Healthy, []string{"would begin", `member hk2 of database "app" is down, not online: the server does not start`}},
		{"down", down, &group{}, []string{"--to", "hk2"}, cli.Failed, []string{"is down, not online: the server does not start"}},
		{"a client", onlineDatabase(), &group{}, []string{"--to", "web"}, cli.Failed, []string{`node "web" has no data of database "app"`}},
		{"an outage", lostDatabase(), &group{}, []string{"--to", "sg1"}, cli.Failed, []string{"atoll recover --database app shows what it waits for"}},
		{"an outage, of all", lostDatabase(), &group{}, nil, cli.Failed, []string{"- takes writes; nothing is changed", "atoll recover --database app shows what it waits for"}},
		{"nobody has a part", onlineDatabase(), &group{absent: true}, []string{"--to", "sg1"}, cli.Failed, []string{`no member of database "app" could be asked`}},
		{"an old agent", onlineDatabase(), &group{old: true}, []string{"--to", "sg1"}, cli.Failed, []string{"its agent is older than this command and knows no dry run"}},
		{"with patience", onlineDatabase(), &group{}, []string{"--to", "sg1", "--patience", "1m"}, cli.Failed, []string{"none of the others can be"}},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			o := newOperator(t)
			key := o.withKey(t)
			tt.group.status = withDatabase(tt.view)
			endpoint, _ := serveBackend(t, tt.group, key, "hk1")
			r := o.run(t, append([]string{"switchover", "--cluster", "web", "--endpoint", endpoint, "--dry-run"}, tt.args...)...)
			if r.code != tt.code {
				t.Errorf("exit code %d, want %d: %q, %q", r.code, tt.code, r.stdout, r.stderr)
			}
			for _, want := range tt.says {
				if !strings.Contains(r.stdout+r.stderr, want) {
					t.Errorf("the output lacks %q:\n%s%s", want, r.stdout, r.stderr)
				}
			}
			if len(tt.group.asked) > 0 {
				t.Errorf("a dry run has ordered %+v", tt.group.asked)
			}
		})
	}
}

func TestSwitchoverDryRunJSON(t *testing.T) {
	g := &group{refuse: "long-transactions", only: "sg1"}
	g.status = withDatabase(onlineDatabase())
	o := newOperator(t)
	key := o.withKey(t)
	endpoint, _ := serveBackend(t, g, key, "hk1")
	r := o.run(t, "switchover", "--cluster", "web", "--endpoint", endpoint, "--dry-run", "--json")
	type check struct {
		To, Reason   string
		Possible     bool
		Lag          float64
		Queue        int
		MostQueue    int `json:"most_queue"`
		Transactions []string
	}
	var got struct {
		Database, Primary string
		Checks            []check
	}
	if err := json.Unmarshal([]byte(r.stdout), &got); err != nil {
		t.Fatalf("%v: %q, %q", err, r.stdout, r.stderr)
	}
	want := []check{
		{To: "hk2", Possible: true, Lag: 0.4, Queue: 12, MostQueue: 500},
		{To: "sg1", Reason: "long-transactions", Queue: 12, MostQueue: 500, Transactions: []string{"connection 7 of user nextcloud in shop, 95 s, 3 rows changed"}},
	}
	if diff := cmp.Diff(want, got.Checks); diff != "" || got.Primary != "hk1" || got.Database != "app" || r.code != cli.Healthy {
		t.Errorf("exit code %d, %s\n%s", r.code, r.stdout, diff)
	}
	if len(g.asked) > 0 {
		t.Errorf("a dry run has ordered %+v", g.asked)
	}
}

func TestSwitchoverJSON(t *testing.T) {
	for _, tt := range []struct {
		refuse  string
		code    int
		changed bool
	}{{"", cli.Healthy, true}, {"lag", cli.Failed, false}} {
		g := &group{refuse: tt.refuse}
		g.status = withDatabase(onlineDatabase())
		o := newOperator(t)
		key := o.withKey(t)
		endpoint, _ := serveBackend(t, g, key, "hk1")
		r := o.run(t, "switchover", "--cluster", "web", "--endpoint", endpoint, "--to", "sg1", "--json")
		var got struct {
			Database, From, To, Reason string
			Changed                    bool
			Took                       int64 `json:"took_ms"`
		}
		if err := json.Unmarshal([]byte(r.stdout), &got); err != nil {
			t.Fatalf("%v: %q, %q", err, r.stdout, r.stderr)
		}
		if r.code != tt.code || got.Changed != tt.changed || got.Reason != tt.refuse || got.From != "hk1" || got.To != "sg1" || got.Took == 0 {
			t.Errorf("exit code %d, %s", r.code, r.stdout)
		}
	}
}
