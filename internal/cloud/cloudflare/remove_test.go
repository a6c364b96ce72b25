package cloudflare_test

import (
	"errors"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/atollhq/terraform-provider-atoll/internal/cloud/cloudflare"
	emulated "github.com/atollhq/terraform-provider-atoll/internal/lab/cloudflare"
)

// patch changes something at the API past the client.
func (c *cloud) patch(t *testing.T, path, change string) {
	t.Helper()
	r := httptest.NewRequestWithContext(t.Context(), http.MethodPatch, "/client/v4/"+path, strings.NewReader(change))
	r.Header.Set("Authorization", "Bearer right")
	w := httptest.NewRecorder()
	c.ServeHTTP(w, r)
	if w.Code != http.StatusOK {
		t.Fatalf("PATCH %s: %d %s", path, w.Code, w.Body)
	}
}

// TestSetRemoved takes endpoints out of service and gives them back, and demands that nothing else of the pool changes.
func TestSetRemoved(t *testing.T) {
	t.Parallel()
	c, ctx := newCloud(t, nil), t.Context()
	m, _, err := c.client.CreateMonitor(ctx, account, monitor())
	if err != nil {
		t.Fatal(err)
	}
	want := pool(m.ID)
	want.Origins = append(want.Origins, cloudflare.Origin{Name: "hk3", Address: "192.0.2.3", Enabled: true, Weight: 1})
	made, _, err := c.client.CreatePool(ctx, account, want)
	if err != nil {
		t.Fatal(err)
	}
	// Something that the client does not know of.
	c.patch(t, "accounts/"+account+"/load_balancers/pools/"+made.ID, `{"load_shedding":{"default_percent":5},"origins":[`+
		`{"name":"hk1","address":"192.0.2.1","port":8443,"weight":0.25,"header":{"Host":["www.example.com"]},"flatten_cname":false},`+
		`{"name":"hk2","address":"hk2.example.net","enabled":false,"weight":0},{"name":"hk3","address":"192.0.2.3"}]}`)
	begin, _ := c.Account().Pool(made.ID)

	steps := []struct {
		name        string
		removed     map[string]bool
		writes      int
		description string
		removedNow  []string
	}{
		{"nothing to do", map[string]bool{"hk1": false, "hk9": true}, 0, "ours", nil},
		{"one", map[string]bool{"hk1": true, "hk3": false}, 1, "ours removed:hk1", []string{"hk1"}},
		{"again", map[string]bool{"hk1": true}, 0, "ours removed:hk1", []string{"hk1"}},
		{"another", map[string]bool{"hk3": true}, 1, "ours removed:hk1,hk3", []string{"hk1", "hk3"}},
		{"one that the operator has disabled", map[string]bool{"hk2": true}, 0, "ours removed:hk1,hk3", []string{"hk1", "hk3"}},
		{"the operator's is not enabled", map[string]bool{"hk2": false}, 0, "ours removed:hk1,hk3", []string{"hk1", "hk3"}},
		{"back", map[string]bool{"hk1": false}, 1, "ours removed:hk3", []string{"hk3"}},
		{"all back", map[string]bool{"hk1": false, "hk3": false}, 1, "ours", nil},
	}
	for _, step := range steps {
		writes := c.count("PATCH " + made.ID)
		got, err := c.client.SetRemoved(ctx, account, made.ID, step.removed)
		if err != nil {
			t.Fatalf("%s: %v", step.name, err)
		}
		if n := c.count("PATCH "+made.ID) - writes; n != step.writes {
			t.Errorf("%s: %d writes, want %d", step.name, n, step.writes)
		}
		var removed []string
		for _, o := range got.Origins {
			if o.Removed {
				removed = append(removed, o.Name)
			}
			if o.Enabled != (o.Name != "hk2") {
				t.Errorf("%s: %s is said to be enabled by the operator: %v", step.name, o.Name, o.Enabled)
			}
		}
		if got.Description != "ours" || !cmp.Equal(removed, step.removedNow) {
			t.Errorf("%s: description %q, removed %v", step.name, got.Description, removed)
		}
		at, _ := c.Account().Pool(made.ID)
		if at.Description != step.description {
			t.Errorf("%s: the record is %q, want %q", step.name, at.Description, step.description)
		}
		for _, o := range at.Origins {
			off := o.Name == "hk2" || cmp.Equal([]string{o.Name}, step.removedNow) || len(step.removedNow) == 2
			if o.Enabled == off {
				t.Errorf("%s: %s has enabled %v", step.name, o.Name, o.Enabled)
			}
		}
		// What an update of everything writes is the same again.
		if err := c.client.UpdatePool(ctx, account, got); err != nil {
			t.Fatal(err)
		}
		if again, err := c.client.Pool(ctx, account, made.ID); err != nil || !cmp.Equal(again, got) {
			t.Errorf("%s: a whole update changes it: %s (%v)", step.name, cmp.Diff(got, again), err)
		}
		c.patch(t, "accounts/"+account+"/load_balancers/pools/"+made.ID, `{"load_shedding":{"default_percent":5}}`)
	}
	end, _ := c.Account().Pool(made.ID)
	begin.ModifiedOn = end.ModifiedOn
	begin.Origins[0].FlattenCNAME, end.Origins[0].FlattenCNAME = false, false // the whole updates above do not know of it
	if diff := cmp.Diff(begin, end); diff != "" {
		t.Errorf("the pool is another one: -before +after\n%s", diff)
	}
}

// TestSetRemovedKeepsTheUnknown changes one endpoint and keeps what the client does not know of the others.
func TestSetRemovedKeepsTheUnknown(t *testing.T) {
	t.Parallel()
	c, ctx := newCloud(t, nil), t.Context()
	p := pool("")
	p.CheckRegions = nil
	made, _, err := c.client.CreatePool(ctx, account, p)
	if err != nil {
		t.Fatal(err)
	}
	c.patch(t, "accounts/"+account+"/load_balancers/pools/"+made.ID, `{"load_shedding":{"default_percent":5},"origins":[`+
		`{"name":"hk1","address":"192.0.2.1","flatten_cname":false},{"name":"hk2","address":"192.0.2.2","enabled":false}]}`)
	before, _ := c.Account().Pool(made.ID)
	if _, err := c.client.SetRemoved(ctx, account, made.ID, map[string]bool{"hk1": true}); err != nil {
		t.Fatal(err)
	}
	between, _ := c.Account().Pool(made.ID)
	if between.Origins[0].DisabledAt == nil || between.Origins[0].Enabled {
		t.Errorf("the endpoint is %+v", between.Origins[0])
	}
	if _, err := c.client.SetRemoved(ctx, account, made.ID, map[string]bool{"hk1": false}); err != nil {
		t.Fatal(err)
	}
	after, _ := c.Account().Pool(made.ID)
	before.ModifiedOn = after.ModifiedOn
	if diff := cmp.Diff(before, after); diff != "" {
		t.Errorf("-before +after\n%s", diff)
	}
}

// TestOperatorDisablesRemoved has the operator disable an endpoint that the nodes have removed: it is not theirs any more.
func TestOperatorDisablesRemoved(t *testing.T) {
	t.Parallel()
	c, ctx := newCloud(t, nil), t.Context()
	p := pool("")
	p.CheckRegions = nil
	made, _, err := c.client.CreatePool(ctx, account, p)
	if err != nil {
		t.Fatal(err)
	}
	got, err := c.client.SetRemoved(ctx, account, made.ID, map[string]bool{"hk1": true})
	if err != nil {
		t.Fatal(err)
	}
	got.Origins[0].Enabled = false
	if err := c.client.UpdatePool(ctx, account, got); err != nil {
		t.Fatal(err)
	}
	got, err = c.client.SetRemoved(ctx, account, made.ID, map[string]bool{"hk1": false})
	if err != nil || got.Origins[0].Enabled || got.Origins[0].Removed {
		t.Errorf("the endpoint is %+v, error %v", got.Origins[0], err)
	}
	if at, _ := c.Account().Pool(made.ID); at.Description != "ours" || at.Origins[0].Enabled {
		t.Errorf("at the vendor: description %q, enabled %v", at.Description, at.Origins[0].Enabled)
	}
}

func TestSuspendDrain(t *testing.T) {
	t.Parallel()
	tests := []struct {
		name    string
		change  func(*cloudflare.LoadBalancer)
		suspend bool // whether there is anything to suspend
	}{
		{"cookie", func(*cloudflare.LoadBalancer) {}, true},
		{"no drain", func(lb *cloudflare.LoadBalancer) { lb.Session.Drain = 0 }, false},
		{"no sessions", func(lb *cloudflare.LoadBalancer) { lb.Session = cloudflare.Session{Affinity: cloudflare.AffinityNone} }, false},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			c, ctx := newCloud(t, nil), t.Context()
			p := pool("")
			p.CheckRegions = nil
			made, _, err := c.client.CreatePool(ctx, account, p)
			if err != nil {
				t.Fatal(err)
			}
			want := balancer(made.ID)
			tt.change(&want)
			lb, _, err := c.client.CreateLoadBalancer(ctx, c.zone, want)
			if err != nil {
				t.Fatal(err)
			}
			before, _ := c.Account().LoadBalancer("www.example.com")
			for _, first := range []bool{true, false} {
				changed, err := c.client.SuspendDrain(ctx, c.zone, lb.ID, true)
				if err != nil || changed != (tt.suspend && first) {
					t.Errorf("changed %v, error %v", changed, err)
				}
			}
			at, _ := c.Account().LoadBalancer("www.example.com")
			if tt.suspend && (at.SessionAffinityAttributes.DrainDuration != 0 || at.Description != "ours drain:3600") {
				t.Errorf("at the vendor: drain %v, description %q", at.SessionAffinityAttributes.DrainDuration, at.Description)
			}
			got, err := c.client.LoadBalancer(ctx, c.zone, lb.ID)
			if err != nil {
				t.Fatal(err)
			}
			expected := lb
			expected.Session.DrainSuspended = tt.suspend
			if diff := cmp.Diff(expected, got); diff != "" {
				t.Errorf("while it is suspended: -want +got\n%s", diff)
			}
			if err := c.client.UpdateLoadBalancer(ctx, c.zone, got); err != nil {
				t.Fatal(err)
			}
			if again, err := c.client.LoadBalancer(ctx, c.zone, lb.ID); err != nil || !cmp.Equal(again, got) {
				t.Errorf("a whole update changes it: %s (%v)", cmp.Diff(got, again), err)
			}
			if changed, err := c.client.SuspendDrain(ctx, c.zone, lb.ID, false); err != nil || changed != tt.suspend {
				t.Errorf("changed %v, error %v", changed, err)
			}
			after, _ := c.Account().LoadBalancer("www.example.com")
			before.ModifiedOn = after.ModifiedOn
			if diff := cmp.Diff(before, after); diff != "" {
				t.Errorf("-before +after\n%s", diff)
			}
		})
	}
}

// TestSetRemovedForbidden names the permission that the nodes' token lacks.
func TestSetRemovedForbidden(t *testing.T) {
	t.Parallel()
	c, ctx := newCloud(t, nil), t.Context()
	p := pool("")
	p.CheckRegions = nil
	made, _, err := c.client.CreatePool(ctx, account, p)
	if err != nil {
		t.Fatal(err)
	}
	c.Inject(emulated.Fault{Method: http.MethodPatch, Status: http.StatusForbidden, Code: 10000, Reason: "Authentication error"})
	_, err = c.client.SetRemoved(ctx, account, made.ID, map[string]bool{"hk1": true})
	var failure *cloudflare.Error
	if !errors.As(err, &failure) || !errors.Is(err, cloudflare.ErrForbidden) || failure.Permission != cloudflare.PermissionPools(true) {
		t.Errorf("error %v", err)
	}
}
