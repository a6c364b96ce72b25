package operator_test

import (
	"fmt"
	"slices"
	"sync"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/atollhq/terraform-provider-atoll/internal/provider/operator"
	"github.com/atollhq/terraform-provider-atoll/internal/spec"
)

// TestPlanPlace plans nodes in every order: each firewall that keeps two of them apart is told once, by whoever is planned second.
func TestPlanPlace(t *testing.T) {
	t.Parallel()
	only := func(peers ...string) *spec.Firewall {
		return &spec.Firewall{Inbound: []spec.FirewallRule{{Protocol: "tcp", Peers: peers}, {Protocol: "udp", Peers: peers}}}
	}
	places := map[string]operator.PlannedPlace{
		"a": {Node: spec.Node{Addresses: []string{"192.0.2.1"}, Firewall: only("c")}},
		"b": {Node: spec.Node{Addresses: []string{"192.0.2.2"}, Firewall: only("192.0.2.0/24")}},
		"c": {Node: spec.Node{}, Unsure: true},
	}
	for _, order := range [][]string{{"a", "b", "c"}, {"a", "c", "b"}, {"b", "a", "c"}, {"b", "c", "a"}, {"c", "a", "b"}, {"c", "b", "a"}} {
		c := operator.New(operator.Config{}).Cluster("web")
		if got := c.PlanPlace("a", places["a"]); got != nil || c.Described() != nil {
			t.Fatalf("without a cluster: got %v", got)
		}
		c.Forget("a")
		if _, there := c.Place("a"); there {
			t.Fatal("a node that is being removed is there still")
		}
		c.Describe(spec.Cluster{Mesh: spec.DefaultMesh(), Ports: spec.DefaultPorts()})
		var mu sync.Mutex
		var got []string
		var all sync.WaitGroup
		for _, name := range order {
			all.Go(func() {
				for _, b := range c.PlanPlace(name, places[name]) {
					mu.Lock()
					got = append(got, fmt.Sprintf("%s>%s %s", b.From, b.To, b.Side))
					mu.Unlock()
				}
			})
		}
		all.Wait()
		slices.Sort(got)
		if diff := cmp.Diff([]string{"b>a inbound"}, got); diff != "" {
			t.Errorf("order %v (-want +got):\n%s", order, diff)
		}
	}
}
