package operator_test

import (
	"strings"
	"testing"

	"github.com/atollhq/terraform-provider-atoll/internal/provider/operator"
	"github.com/atollhq/terraform-provider-atoll/internal/spec"
)

func plannedPair(name, tree string, nodes ...string) operator.PlannedPair {
	p := operator.PlannedPair{Name: name, Pair: spec.Pair{Ends: map[string]spec.PairEnd{}, Leader: nodes[0]}}
	for _, n := range nodes {
		p.Ends[n] = spec.PairEnd{Path: tree}
	}
	return p
}

// TestPlanPair tells of trees within one another whoever completes them, in every order.
func TestPlanPair(t *testing.T) {
	t.Parallel()
	outer, inner := plannedPair("outer", "/srv/x", "a", "b"), plannedPair("inner", "/srv/x/y", "a", "c")
	for _, order := range [][]operator.PlannedPair{{outer, inner}, {inner, outer}} {
		c := newCluster()
		if ps, twice := c.PlanPair(order[0]); len(ps) > 0 || twice {
			t.Errorf("the first: got %v, %t", ps, twice)
		}
		if ps, _ := c.PlanPair(order[1]); len(ps) != 1 || !strings.Contains(ps[0].Message, "within one another on a") {
			t.Errorf("the second: got %v", ps)
		}
		c.LeavePair(order[0].Name)
		if ps, _ := c.PlanPair(order[1]); len(ps) > 0 {
			t.Errorf("without the first: got %v", ps)
		}
	}
}

func TestPlanPairTwice(t *testing.T) {
	t.Parallel()
	c := newCluster()
	p := plannedPair("uploads", "/srv/x", "a", "b")
	for n, tt := range []struct{ fresh, twice bool }{{false, false}, {true, false}, {true, true}} {
		p.New = tt.fresh
		if ps, twice := c.PlanPair(p); twice != tt.twice || len(ps) > 0 {
			t.Errorf("%d: got %v, %t", n, ps, twice)
		}
	}
}

// TestBesidePairs leaves to those that are planned, or removed, what they are to be.
func TestBesidePairs(t *testing.T) {
	t.Parallel()
	c := newCluster()
	held := map[string]spec.Pair{}
	for _, name := range []string{"foreign", "planned", "leaving", "mine"} {
		held[name] = plannedPair(name, "/srv/x/"+name, "a", "b").Pair
	}
	c.LeavePair("leaving")
	_, _ = c.PlanPair(plannedPair("planned", "/srv/z", "a", "b"))
	ps := c.BesidePairs(plannedPair("mine", "/srv/x", "a", "b"), held)
	for _, p := range ps {
		if !strings.Contains(p.Message, "/srv/x/foreign") {
			t.Errorf("got %v", p)
		}
	}
	if len(ps) != 2 || len(held) != 4 {
		t.Errorf("got %v; want one problem on each node", ps)
	}
}
