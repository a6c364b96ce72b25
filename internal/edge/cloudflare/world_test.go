package cloudflare_test

import (
	"context"
	"fmt"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"slices"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	api "github.com/atollhq/terraform-provider-atoll/internal/cloud/cloudflare"
	"github.com/atollhq/terraform-provider-atoll/internal/edge"
	"github.com/atollhq/terraform-provider-atoll/internal/edge/cloudflare"
	emulated "github.com/atollhq/terraform-provider-atoll/internal/lab/cloudflare"
	"github.com/atollhq/terraform-provider-atoll/internal/lab/contract/contracttest"
	"github.com/atollhq/terraform-provider-atoll/internal/spec"
)

const hostname = "www.example.com"

// world is an emulated account with a load balancer of three nodes, "a" and "b" in one pool and "c" in another, and a clock that
// only the test moves.
type world struct {
	t *testing.T
	*emulated.Server
	url string
	// operator is what Terraform has.
	operator *api.Client
	object   spec.LoadBalancer
	pools    map[string]string
	requests atomic.Int64
	now      time.Time
	// dead are the nodes that nobody sees, unfit those that are not fit.
	dead, unfit map[string]bool
	// hidden are nodes that answer no other one in public.
	hidden map[string]bool
	// away are the nodes of the one part of a network that is cut in two.
	away map[string]bool
	// balancers is how many load balancers the nodes look after.
	balancers int
}

func newWorld(t *testing.T) *world {
	t.Helper()
	w := &world{
		t: t, now: time.Now(), dead: map[string]bool{}, unfit: map[string]bool{}, pools: map[string]string{},
		Server: &emulated.Server{
			Token: "operator", Tokens: map[string]emulated.Token{"nodes": {Permissions: []string{emulated.MonitorsAndPoolsWrite, emulated.LoadBalancersWrite}}},
		},
	}
	handler := contracttest.Watched(t, contracttest.Cloudflare)(w.Server)
	server := httptest.NewServer(http.HandlerFunc(func(rw http.ResponseWriter, r *http.Request) {
		w.requests.Add(1)
		handler.ServeHTTP(rw, r)
	}))
	t.Cleanup(func() {
		server.CloseClientConnections()
		w.Close()
		server.Close()
	})
	w.url = server.URL + "/client/v4"
	var err error
	if w.operator, err = api.New(api.Config{Token: "operator", URL: w.url, Pause: time.Millisecond}); err != nil {
		t.Fatal(err)
	}
	w.object = spec.LoadBalancer{Nodes: map[string]spec.ServingNode{}, Removal: &spec.QuickRemoval{
		AccountID: emulated.AccountID, ZoneID: emulated.ZoneID("example.com"), BaseURL: w.url,
		Endpoints: map[string]spec.PoolEndpoint{}, Tokens: map[string]string{},
	}}
	var ids []string
	for _, pool := range []struct {
		name  string
		nodes []string
	}{{"left", []string{"a", "b"}}, {"right", []string{"c"}}} {
		p := api.Pool{Name: pool.name, Description: "atoll:" + hostname + "/" + pool.name, Enabled: true, MinimumOrigins: 1, OriginSteering: api.OriginRandom}
		for _, n := range pool.nodes {
			p.Origins = append(p.Origins, api.Origin{Name: n, Address: fmt.Sprintf("192.0.2.%d", n[0]), Enabled: true, Weight: 1})
		}
		made, _, err := w.operator.CreatePool(t.Context(), emulated.AccountID, p)
		if err != nil {
			t.Fatal(err)
		}
		w.pools[pool.name] = made.ID
		ids = append(ids, made.ID)
		for _, n := range pool.nodes {
			w.object.Nodes[n] = spec.ServingNode{Enabled: true, Port: 80}
			w.object.Removal.Endpoints[n] = spec.PoolEndpoint{Pool: made.ID, Name: n}
			w.object.Removal.Tokens[n] = "nodes"
		}
	}
	lb, _, err := w.operator.CreateLoadBalancer(t.Context(), emulated.ZoneID("example.com"), api.LoadBalancer{
		Name: hostname, Description: "atoll:" + hostname, Enabled: true, Proxied: true, DefaultPools: ids, FallbackPool: ids[0], Steering: api.SteeringOff,
		Session: api.Session{Affinity: api.AffinityCookie, TTL: 1800, Drain: 3600, Failover: "sticky"},
	})
	if err != nil {
		t.Fatal(err)
	}
	w.object.Removal.BalancerID = lb.ID
	return w
}

// voters adds nodes that have no endpoint of their own and no token.
func (w *world) voters(names ...string) {
	for _, n := range names {
		w.object.Nodes[n] = spec.ServingNode{Enabled: true, Port: 80}
	}
}

// actor is one node's actor. It stands in for the agent, which gives it a sight.
type actor struct {
	w    *world
	name string
	*edge.Actor
	state edge.State
}

func (w *world) actor(name string) *actor {
	w.t.Helper()
	return &actor{w: w, name: name, Actor: edge.NewActor(edge.Config{
		Self: name, Open: cloudflare.Open, Unseal: func(sealed string) (string, error) { return sealed, nil },
		Now: func() time.Time { return w.now }, Log: slog.New(slog.DiscardHandler),
	})}
}

// sight is what a node knows while everybody who lives sees everybody as they are.
func (w *world) sight(self string, blocked []*actor) edge.Sight {
	s := edge.Sight{Self: self, Hostname: hostname, Balancer: w.object, Balancers: w.balancers, Reports: map[string]spec.Status{}}
	for n := range w.object.Nodes {
		if w.dead[n] || w.away[n] != w.away[self] {
			continue
		}
		status := spec.Status{
			Node: n, Peers: map[string]spec.PeerStatus{},
			Serving: map[string]spec.ServingStatus{hostname: {Fit: !w.unfit[n]}},
		}
		for other := range w.object.Nodes {
			alive := !w.dead[other] && w.away[other] == w.away[n]
			public := &spec.PublicStatus{Answers: alive, Dead: !alive}
			if w.hidden[other] {
				public = nil
			}
			status.Peers[other] = spec.PeerStatus{Reachable: alive, Alive: alive, Public: public}
		}
		for _, b := range blocked {
			if b.name == n && b.state.Status == spec.ConditionFalse {
				status.Conditions = []spec.Condition{{Type: spec.ConditionEdgeReady, Status: b.state.Status, Reason: b.state.Reason}}
			}
		}
		s.Reports[n] = status
	}
	return s
}

// run lets seconds pass, in each of which every actor that lives steps once.
func (w *world) run(seconds int, actors ...*actor) {
	w.t.Helper()
	for range seconds {
		for _, a := range actors {
			if !w.dead[a.name] {
				a.state = a.Step(w.t.Context(), w.sight(a.name, actors))
			}
		}
		w.now = w.now.Add(time.Second)
	}
}

// out returns the endpoints that are out of service at the vendor and those that the records name, sorted; a name with "!" behind it
// is out without being in a record.
func (w *world) out() string {
	w.t.Helper()
	var out []string
	for _, p := range w.Account().Pools {
		_, record, _ := strings.Cut(p.Description, " removed:")
		names := strings.Split(record, ",")
		for _, o := range p.Origins {
			switch recorded := slices.Contains(names, o.Name); {
			case !o.Enabled && recorded:
				out = append(out, o.Name)
			case !o.Enabled:
				out = append(out, o.Name+"!")
			}
		}
	}
	slices.Sort(out)
	return strings.Join(out, " ")
}

func (w *world) drain() int {
	lb, _ := w.Account().LoadBalancer(hostname)
	return lb.SessionAffinityAttributes.DrainDuration
}

func (w *world) want(what, out string, drain int) {
	w.t.Helper()
	if diff := cmp.Diff(out, w.out()); diff != "" {
		w.t.Errorf("%s: out of service: -want +got\n%s", what, diff)
	}
	if got := w.drain(); got != drain {
		w.t.Errorf("%s: sessions drain for %d s, want %d", what, got, drain)
	}
}

func (a *actor) wantState(what string, status spec.ConditionStatus, reason, message string) {
	a.w.t.Helper()
	if a.state.Status != status || a.state.Reason != reason || !strings.Contains(a.state.Message, message) {
		a.w.t.Errorf("%s: %s is %+v, want %s (%s) with %q", what, a.name, a.state, status, reason, message)
	}
}

// terraform applies what the operator wants to a pool, as one who has looked at it before.
func (w *world) terraform(ctx context.Context, pool string, change func(*api.Pool)) {
	w.t.Helper()
	p, err := w.operator.Pool(ctx, emulated.AccountID, w.pools[pool])
	if err == nil {
		change(&p)
		err = w.operator.UpdatePool(ctx, emulated.AccountID, p)
	}
	if err != nil {
		w.t.Fatal(err)
	}
}
