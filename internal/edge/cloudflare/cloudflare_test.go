package cloudflare_test

import (
	"net/http"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	api "github.com/atollhq/terraform-provider-atoll/internal/cloud/cloudflare"
	"github.com/atollhq/terraform-provider-atoll/internal/edge"
	emulated "github.com/atollhq/terraform-provider-atoll/internal/lab/cloudflare"
	"github.com/atollhq/terraform-provider-atoll/internal/spec"
)

const drains = 3600

// TestNodeDies is the whole life of a removal, with the actors of all nodes.
func TestNodeDies(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	a, b, c := w.actor("a"), w.actor("b"), w.actor("c")
	w.run(60, a, b, c)
	w.want("all are well", "", drains)
	for _, x := range []*actor{a, b, c} {
		x.wantState("all are well", spec.ConditionTrue, "Ready", "")
	}
	w.dead["c"] = true
	w.run(1, a, b, c)
	w.want("c is dead", "c", 0)
	a.wantState("c is dead", spec.ConditionTrue, "Removed", "a, b see it dead, 2 of 3 nodes")
	w.run(120, a, b, c)
	w.want("c is dead for long", "c", 0)
	w.dead["c"] = false
	w.unfit["c"] = true
	w.run(60, a, b, c)
	w.want("c lives and is not fit", "c", 0)
	delete(w.unfit, "c")
	w.run(int(edge.Rise/time.Second)-1, a, b, c)
	w.want("c is well for a moment", "c", 0)
	w.run(2, a, b, c)
	w.want("c is well", "", drains)
	w.run(60, a, b, c)
	w.want("c is well for long", "", drains)
	a.wantState("c is well", spec.ConditionTrue, "Ready", "")
	b.wantState("c is well", spec.ConditionTrue, "Ready", "")
}

// TestTakeover has the first actor die together with the node, and one whose agent does nothing.
func TestTakeover(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	w.voters("d", "e")
	b, c := w.actor("b"), w.actor("c")
	// Node "a" is alive, but its actor never steps.
	w.run(20, b, c)
	w.dead["c"] = true
	w.run(int(edge.Takeover/time.Second), b)
	w.want("it is not yet b's turn", "", drains)
	w.run(1, b)
	w.want("b has taken over", "c", 0)

	w = newWorld(t)
	w.voters("d", "e")
	b = w.actor("b")
	w.run(20, b)
	w.dead["a"] = true
	w.run(1, b)
	w.want("the first actor is the dead one", "a", 0)
}

// TestPartition cuts the network in two, and the actors of both parts go on: they all reach the vendor.
func TestPartition(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	w.voters("d")
	a, b, c := w.actor("a"), w.actor("b"), w.actor("c")
	w.run(20, a, b, c)
	w.away = map[string]bool{"c": true, "d": true}
	w.run(60, a, b, c)
	w.want("two and two", "", drains)

	w = newWorld(t)
	w.voters("d", "e")
	a, b, c = w.actor("a"), w.actor("b"), w.actor("c")
	w.run(20, a, b, c)
	w.away = map[string]bool{"b": true, "c": true}
	w.run(60, c, b, a)
	w.want("three and two", "b c", 0)
	w.away = nil
	w.run(20, a, b, c)
	w.want("the network is whole again", "", drains)
	w.away = map[string]bool{"a": true, "d": true, "e": true}
	w.run(10, a, b, c)
	w.want("two and three", "b c", 0)
}

// TestRestartWhileRemoved has all agents start again, with nothing left of what they knew, while an endpoint is out.
func TestRestartWhileRemoved(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	w.dead["c"] = true
	w.run(2, w.actor("a"), w.actor("b"))
	w.want("c is dead", "c", 0)
	a, b, c := w.actor("a"), w.actor("b"), w.actor("c")
	w.run(30, a, b, c)
	w.want("they started again, c is still dead", "c", 0)
	w.dead["c"] = false
	a, b, c = w.actor("a"), w.actor("b"), w.actor("c")
	w.run(5, a, b, c)
	w.want("they started again with c", "c", 0)
	for _, x := range []*actor{a, b} {
		if diff := cmp.Diff([]string{"c"}, x.state.Out); diff != "" {
			t.Errorf("%s knows who gets no traffic (-want +got):\n%s", x.name, diff)
		}
	}
	w.run(int(edge.Rise/time.Second)+1, a, b, c)
	w.want("c is well", "", drains)
	w.run(int(2*edge.Takeover/time.Second), a, b, c)
	for _, x := range []*actor{a, b, c} {
		if len(x.state.Out) > 0 {
			t.Errorf("%s believes that %v get no traffic", x.name, x.state.Out)
		}
	}
}

// TestWrongActionIsRepaired has somebody with an old view of the world take a well node out, and another give a dead one back.
func TestWrongActionIsRepaired(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	a, b, c := w.actor("a"), w.actor("b"), w.actor("c")
	w.run(40, a, b, c)
	stale, err := api.New(api.Config{Token: "nodes", URL: w.url})
	if err != nil {
		t.Fatal(err)
	}
	set := func(pool, node string, removed bool) {
		t.Helper()
		if _, err := stale.SetRemoved(t.Context(), emulated.AccountID, w.pools[pool], map[string]bool{node: removed}); err != nil {
			t.Fatal(err)
		}
	}
	set("left", "b", true)
	w.want("wrongly removed", "b", drains)
	w.run(31, a, b, c)
	w.want("repaired", "", drains)
	w.dead["c"] = true
	w.run(2, a, b)
	w.want("c is dead", "c", 0)
	set("right", "c", false)
	w.run(6, a, b)
	w.want("repaired", "c", 0)
}

// TestTerraformMeanwhile applies while an endpoint is out: with the record, and as one who looked before it was made.
func TestTerraformMeanwhile(t *testing.T) {
	t.Parallel()
	w, ctx := newWorld(t), t.Context()
	a, b, c := w.actor("a"), w.actor("b"), w.actor("c")
	w.run(20, a, b, c)
	w.dead["c"] = true
	w.run(2, a, b)
	w.terraform(ctx, "right", func(p *api.Pool) { p.Origins[0].Weight = 0.5 })
	w.want("an apply that keeps the record", "c", 0)
	w.terraform(ctx, "right", func(p *api.Pool) { p.Origins[0].Removed = false })
	w.want("an apply that does not know of it", "", 0)
	w.run(6, a, b)
	w.want("out again", "c", 0)
	lb, err := w.operator.LoadBalancer(ctx, emulated.ZoneID("example.com"), w.object.Removal.BalancerID)
	if err != nil {
		t.Fatal(err)
	}
	lb.Session.DrainSuspended = false
	if err := w.operator.UpdateLoadBalancer(ctx, emulated.ZoneID("example.com"), lb); err != nil {
		t.Fatal(err)
	}
	w.run(6, a, b)
	w.want("the drain is suspended again", "c", 0)
	// The operator disables the dead node for good: it is not given back when it is well.
	w.terraform(ctx, "right", func(p *api.Pool) { p.Origins[0].Enabled = false })
	w.dead["c"] = false
	w.run(60, a, b, c)
	w.want("the operator has disabled it", "c!", drains)
	// The operator enables another one that was never removed; nobody fights that.
	w.terraform(ctx, "right", func(p *api.Pool) { p.Origins[0].Enabled = true })
	w.run(60, a, b, c)
	w.want("the operator has enabled it", "", drains)
}

// TestAllUnhealthy has everybody lose the rest, and nobody fit: nothing is removed that serves.
func TestAllUnhealthy(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	a, b, c := w.actor("a"), w.actor("b"), w.actor("c")
	w.unfit = map[string]bool{"a": true, "b": true, "c": true}
	w.run(60, a, b, c)
	w.want("nobody is fit", "", drains)
	w.dead = map[string]bool{"b": true, "c": true}
	w.run(60, a)
	w.want("one of three is left", "", drains)
}

// TestLastEndpoint never takes the last endpoint that serves.
func TestLastEndpoint(t *testing.T) {
	t.Parallel()
	w, ctx := newWorld(t), t.Context()
	w.terraform(ctx, "left", func(p *api.Pool) { p.Origins[0].Enabled, p.Origins[1].Enabled = false, false })
	a, b := w.actor("a"), w.actor("b")
	w.dead["c"] = true
	w.run(20, a, b)
	w.want("c serves alone and is dead", "a! b!", drains)
	a.wantState("c serves alone and is dead", spec.ConditionFalse, edge.ReasonLast, "c is dead but stays in service")
	w.terraform(ctx, "left", func(p *api.Pool) { p.Origins[1].Enabled = true })
	w.run(6, a, b)
	w.want("b serves too", "a! c", 0)
}

// TestRateLimited is blocked for five minutes, is quiet meanwhile, says so, and goes on by itself.
func TestRateLimited(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	a, b, c := w.actor("a"), w.actor("b"), w.actor("c")
	w.run(40, a, b, c)
	w.dead["c"] = true
	undo := w.Inject(emulated.Fault{PathPrefix: "/accounts", Times: -1, Status: http.StatusTooManyRequests, Code: 10429, RetryAfter: 5 * time.Minute})
	w.run(10, a, b)
	w.want("the token is blocked", "", drains)
	a.wantState("the token is blocked", spec.ConditionFalse, edge.ReasonRateLimited, "")
	b.wantState("the token is blocked", spec.ConditionFalse, edge.ReasonRateLimited, "")
	before := w.requests.Load()
	w.run(280, a, b)
	if asked := w.requests.Load() - before; asked != 0 {
		t.Errorf("while it is blocked %d requests are sent", asked)
	}
	undo()
	// The client waits for the same real time; a new one stands for the agent whose time has come.
	w.object.Removal.Tokens = map[string]string{"a": "nodes", "b": "nodes"}
	w.run(2, a, b)
	w.want("the block is over", "c", 0)
	a.wantState("the block is over", spec.ConditionTrue, "Removed", "")
}

// TestToken is what becomes of tokens that are not good, and that another one is used as soon as the object has it.
func TestToken(t *testing.T) {
	t.Parallel()
	tests := []struct {
		name    string
		token   emulated.Token
		revoked bool
		reason  string
		message string
		out     string
		drain   int
	}{
		{"revoked", emulated.Token{}, true, edge.ReasonTokenRefused, "another api_token_version", "", drains},
		{"no permission for pools", emulated.Token{Permissions: []string{emulated.LoadBalancersWrite}}, false, edge.ReasonPermissionMissing, `"Load Balancing: Monitors and Pools`, "", drains},
		{
			"no permission for load balancers",
			emulated.Token{Permissions: []string{emulated.MonitorsAndPoolsWrite}},
			false,
			edge.ReasonPermissionMissing, `"Load Balancers`, "c", drains,
		},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			w := newWorld(t)
			if !tt.revoked {
				w.Tokens["bad"] = tt.token
			}
			for n := range w.object.Removal.Tokens {
				w.object.Removal.Tokens[n] = "bad"
			}
			w.dead["c"] = true
			a, b := w.actor("a"), w.actor("b")
			w.run(20, a, b)
			w.want("with the bad token", tt.out, tt.drain)
			a.wantState("with the bad token", spec.ConditionFalse, tt.reason, tt.message)
			before := w.requests.Load()
			w.run(300, a, b)
			if asked := w.requests.Load() - before; asked > 200 {
				t.Errorf("a bad token sends %d requests in five minutes", asked)
			}
			w.object.Removal.Tokens = map[string]string{"a": "nodes", "b": "nodes"}
			w.run(5, a, b)
			w.want("with a good token", "c", 0)
			a.wantState("with a good token", spec.ConditionTrue, "Removed", "")
		})
	}
}

// TestOneTokenFails has the first actor's token fail, and the next take over and stay first.
func TestOneTokenFails(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	w.object.Removal.Tokens["a"] = "revoked"
	a, b, c := w.actor("a"), w.actor("b"), w.actor("c")
	w.run(60, a, b, c)
	a.wantState("at rest", spec.ConditionFalse, edge.ReasonTokenRefused, "")
	w.dead["c"] = true
	w.run(2, a, b)
	w.want("c is dead", "c", 0)
	b.wantState("c is dead", spec.ConditionTrue, "Removed", "")
}

// TestMissing is a pool that somebody has deleted.
func TestMissing(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	w.object.Removal.Endpoints["c"] = spec.PoolEndpoint{Pool: "00000000000000000000000000000000", Name: "c"}
	a, b := w.actor("a"), w.actor("b")
	w.dead["c"] = true
	w.run(10, a, b)
	a.wantState("its pool is gone", spec.ConditionFalse, edge.ReasonMissing, "of node c; apply again")
}

// TestHidden is a node whose health endpoint only the vendor reaches: its silence says nothing, and that is told.
func TestHidden(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	w.hidden = map[string]bool{"c": true}
	a, b, c := w.actor("a"), w.actor("b"), w.actor("c")
	w.run(30, a, b, c)
	a.wantState("at first", spec.ConditionTrue, "Ready", "")
	w.run(60, a, b, c)
	a.wantState("later", spec.ConditionFalse, edge.ReasonHidden, "the health endpoint of c has never answered this node")
	w.dead["c"] = true
	w.run(30, a, b)
	w.want("c is dead and nobody can tell", "", drains)
	w.dead["c"] = false
	w.hidden = nil
	w.run(60, a, b, c)
	a.wantState("it answers", spec.ConditionTrue, "Ready", "")
}

// TestRequests bounds what the nodes ask of the vendor together, at rest and while a node is dead.
func TestRequests(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	a, b, c := w.actor("a"), w.actor("b"), w.actor("c")
	w.run(60, a, b, c)
	count := func(what string, most int64, actors ...*actor) {
		t.Helper()
		before := w.requests.Load()
		w.run(300, actors...)
		if asked := w.requests.Load() - before; asked > most {
			t.Errorf("%s: %d requests in five minutes, want at most %d of the vendor's 1,200", what, asked, most)
		}
	}
	count("at rest", 20, a, b, c)
	w.dead["c"] = true
	count("while a node is dead", 200, a, b)
	count("while it stays dead", 40, a, b)
	// The same node is missed by all load balancers of the account at once.
	w.dead["c"] = false
	w.run(60, a, b, c)
	w.balancers = 20
	w.dead["c"] = true
	count("in each of twenty load balancers", 40, a, b)
}
