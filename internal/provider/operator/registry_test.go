package operator_test

import (
	"errors"
	"net/netip"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/atollhq/terraform-provider-atoll/internal/provider/operator"
	"github.com/atollhq/terraform-provider-atoll/internal/store"
	"github.com/atollhq/terraform-provider-atoll/internal/topology"
	"github.com/atollhq/terraform-provider-atoll/internal/trust"
)

func newCluster() *operator.Cluster {
	return operator.New(operator.Config{SigningKey: trust.NewSigningKey}).Cluster("web")
}

func at(address string) operator.Planned {
	return operator.Planned{MeshAddress: netip.MustParseAddr(address)}
}

// TestPlan reports a clash to whoever plans second, in either order of names, and only to him.
func TestPlan(t *testing.T) {
	t.Parallel()
	cidr := netip.MustParsePrefix("10.66.0.0/24")
	for _, names := range [][2]string{{"a", "b"}, {"b", "a"}} {
		c := newCluster()
		if ps, _ := c.Plan(cidr, names[0], at("10.66.0.1")); len(ps) != 0 {
			t.Errorf("the first one got %v", ps)
		}
		if ps, _ := c.Plan(cidr, names[1], at("10.66.0.1")); len(ps) != 1 || !strings.Contains(ps.Error(), "10.66.0.1 is also the mesh address") {
			t.Errorf("the second one got %v", ps)
		}
		if ps, _ := c.Plan(cidr, names[1], at("10.66.0.2")); len(ps) != 0 {
			t.Errorf("planned again with another address it got %v", ps)
		}
		if ps, _ := c.Plan(cidr, "c", at("10.66.0.1")); len(ps) != 1 {
			t.Errorf("the third one got %v", ps)
		}
	}
}

func TestPlanSameName(t *testing.T) {
	t.Parallel()
	cidr := netip.MustParsePrefix("10.66.0.0/24")
	c := newCluster()
	for _, step := range []struct {
		origin string
		want   bool
	}{{"one", false}, {"one", false}, {"", false}, {"two", true}} {
		if _, other := c.Plan(cidr, "a", operator.Planned{Origin: step.origin}); other != step.want {
			t.Errorf("origin %q: got %v, want %v", step.origin, other, step.want)
		}
	}
	c.Forget("a")
	if _, other := c.Plan(cidr, "a", operator.Planned{Origin: "three"}); other {
		t.Error("a node that was removed still takes its name")
	}
}

// TestAllocate gives nodes that are made at the same time different addresses until there are none left.
func TestAllocate(t *testing.T) {
	t.Parallel()
	c := newCluster()
	cidr := netip.MustParsePrefix("10.66.0.0/29")
	others := map[netip.Addr]string{netip.MustParseAddr("10.66.0.1"): "elsewhere"}
	var mu sync.Mutex
	seen := map[netip.Addr]string{}
	var wg sync.WaitGroup
	for _, name := range []string{"a", "b", "c", "d", "e"} {
		wg.Go(func() {
			addr, err := c.Allocate(cidr, name, others)
			mu.Lock()
			defer mu.Unlock()
			if err != nil || seen[addr] != "" || others[addr] != "" {
				t.Errorf("%s: got %s (%s has it), error %v", name, addr, seen[addr], err)
			}
			seen[addr] = name
		})
	}
	wg.Wait()
	if _, err := c.Allocate(cidr, "f", others); !errors.Is(err, topology.ErrCIDRFull) {
		t.Errorf("got error %v, want ErrCIDRFull", err)
	}
	c.Forget("a")
	if _, err := c.Allocate(cidr, "f", others); err != nil {
		t.Errorf("after one node is gone: %v", err)
	}
}

func TestOthers(t *testing.T) {
	t.Parallel()
	c := newCluster()
	for _, name := range []string{"b", "a", "c"} {
		c.Learn(operator.Peer{Name: name, Records: []store.Record{{}}})
	}
	c.Forget("c")
	others := c.Others("a")
	if len(others) != 1 || others[0].Name != "b" || !c.Removed("c") || c.Removed("b") || c.Removed("unheard") {
		t.Errorf("got %+v", others)
	}
	c.Learn(operator.Peer{Name: "c", Records: []store.Record{{}}})
	if c.Removed("c") {
		t.Error("a node that was made again counts as removed")
	}
}

func TestGeneration(t *testing.T) {
	t.Parallel()
	now := time.UnixMilli(1000)
	for known, want := range map[uint64]uint64{0: 1000, 999: 1000, 1000: 1001, 5000: 5001} {
		if got := operator.Generation(known, now); got != want {
			t.Errorf("after %d: got %d, want %d", known, got, want)
		}
	}
	if got := operator.Generation(3, time.UnixMilli(-5)); got != 4 {
		t.Errorf("with a clock before 1970: got %d, want 4", got)
	}
}
