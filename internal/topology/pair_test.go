package topology_test

import (
	"fmt"
	"math/rand/v2"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/atollhq/terraform-provider-atoll/internal/spec"
	"github.com/atollhq/terraform-provider-atoll/internal/topology"
)

// between returns a pair of trees, each written as node:path; the first node leads.
func between(one, other string) spec.Pair {
	p := spec.Pair{Driver: spec.ReplicationUnison, Ends: map[string]spec.PairEnd{}, Owner: "www-data", Group: "www-data", Objective: 5}
	for _, end := range []string{one, other} {
		node, path, _ := strings.Cut(end, ":")
		p.Ends[node] = spec.PairEnd{Path: path}
	}
	p.Leader, _, _ = strings.Cut(one, ":")
	return p
}

func TestPairsOfANode(t *testing.T) {
	t.Parallel()
	in := stored(nil)
	in.Pairs = map[string]spec.Pair{
		"uploads": between("a:/srv/uploads", "d:/var/www/data"), "photos": between("c:/srv/photos", "a:/srv/photos"),
		"others": between("b:/srv/x", "c:/srv/x"), "half": between("a:/srv/half", "gone:/srv/half"),
	}
	v, err := topology.Derive(in, "a")
	if err != nil {
		t.Fatal(err)
	}
	var names []string
	for _, p := range v.Pairs {
		names = append(names, fmt.Sprintf("%s %s %s:%s leads=%t admitted=%t", p.Name, p.Self.Path, p.Peer.Node, p.Peer.Path, p.Leads(), p.Peer.Admitted))
	}
	want := []string{"photos /srv/photos c:/srv/photos leads=false admitted=true", "uploads /srv/uploads d:/var/www/data leads=true admitted=false"}
	if diff := cmp.Diff(want, names); diff != "" {
		t.Errorf("pairs (-want +got):\n%s", diff)
	}
	p, ok := v.Pair("uploads")
	if !ok || p.Peer.MeshAddress.String() != "10.66.0.4" || p.Peer.APIPort != in.Cluster.Ports.API {
		t.Errorf("got %+v, %t", p, ok)
	}
	if _, ok := v.Pair("others"); ok {
		t.Error("a has a side of a pair of b and c")
	}
	if !strings.Contains(v.Problems.Error(), "pairs.half.ends.gone: is none of the cluster's nodes") {
		t.Errorf("problems: %v", v.Problems)
	}
}

func TestCheckPairs(t *testing.T) {
	t.Parallel()
	tests := []struct {
		name  string
		pairs map[string]spec.Pair
		field string
		says  string
	}{
		{"two trees beside one another", map[string]spec.Pair{"x": between("a:/srv/x", "b:/srv/x"), "y": between("a:/srv/xy", "b:/srv/xy")}, "", ""},
		{"a star", map[string]spec.Pair{"x": between("a:/srv/x", "b:/srv/x"), "y": between("a:/srv/x", "c:/srv/x"), "z": between("a:/srv/x", "d:/srv/x")}, "", ""},
		{"one path on other nodes", map[string]spec.Pair{"x": between("a:/srv/x", "b:/srv/x"), "y": between("c:/srv/x/y", "d:/srv/x/y")}, "", ""},
		{"below another", map[string]spec.Pair{"x": between("a:/srv/x", "b:/srv/x"), "y": between("a:/srv/x/y", "b:/srv/y")}, "pairs.y.ends.a.path", "/srv/x/y and /srv/x of pair x lie within one another"},
		{"above another", map[string]spec.Pair{"x": between("a:/srv/x/y", "b:/srv/x"), "y": between("a:/srv/x", "c:/srv/y")}, "pairs.y.ends.a.path", "lie within one another"},
		{"one pair twice", map[string]spec.Pair{"x": between("a:/srv/x", "b:/srv/x"), "y": between("b:/srv/x", "a:/srv/x")}, "pairs.y.ends", "circle"},
		{"a triangle", map[string]spec.Pair{"x": between("a:/srv/x", "b:/srv/x"), "y": between("b:/srv/x", "c:/srv/x"), "z": between("c:/srv/x", "a:/srv/x")}, "pairs.z.ends", "circle"},
		{"a crossing", map[string]spec.Pair{"x": between("a:/srv/x", "b:/srv/y"), "y": between("a:/srv/y", "b:/srv/x")}, "", ""},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			ps := topology.CheckPairs(tt.pairs)
			if tt.field == "" {
				if len(ps) > 0 {
					t.Errorf("problems: %v", ps)
				}
				return
			}
			if len(ps) != 1 || ps[0].Field != tt.field || !strings.Contains(ps[0].Message, tt.says) {
				t.Errorf("got %v; want one problem of %s that says %q", ps, tt.field, tt.says)
			}
		})
	}
}

// Any tree of pairs is good, and one more pair between two nodes of it makes a circle.
func TestOnlyCirclesAreCircles(t *testing.T) {
	t.Parallel()
	for seed := range uint64(200) {
		random := rand.New(rand.NewPCG(seed, 0))
		n := 3 + random.IntN(20)
		pairs := map[string]spec.Pair{}
		for i := 1; i < n; i++ {
			pairs[fmt.Sprintf("p%02d", i)] = between(fmt.Sprintf("n%d:/srv/x", i), fmt.Sprintf("n%d:/srv/x", random.IntN(i)))
		}
		if ps := topology.CheckPairs(pairs); len(ps) > 0 {
			t.Fatalf("seed %d: problems of a tree: %v", seed, ps)
		}
		one := random.IntN(n)
		other := (one + 1 + random.IntN(n-1)) % n
		pairs["z"] = between(fmt.Sprintf("n%d:/srv/x", one), fmt.Sprintf("n%d:/srv/x", other))
		if ps := topology.CheckPairs(pairs); len(ps) != 1 {
			t.Fatalf("seed %d: problems of a circle: %v", seed, ps)
		}
	}
}

// A problem is told of the pair that completes it, whichever name comes first.
func TestPairProblems(t *testing.T) {
	t.Parallel()
	others := map[string]spec.Pair{"m": between("a:/srv/x", "b:/srv/x"), "old": between("a:/srv/z", "b:/srv/z"), "within": between("a:/srv/z/y", "b:/srv/y")}
	for _, name := range []string{"a", "z"} {
		ps := topology.PairProblems(others, name, between("a:/srv/x/y", "c:/srv/x"))
		if len(ps) != 1 || !strings.Contains(ps[0].Message, "lie within one another on a") {
			t.Errorf("%s: got %v", name, ps)
		}
		if ps := topology.PairProblems(others, name, between("c:/srv/x", "d:/srv/x")); len(ps) > 0 {
			t.Errorf("%s: got %v of a pair that others do not concern", name, ps)
		}
	}
	if ps := topology.PairProblems(others, "m", between("b:/srv/x", "a:/srv/x")); len(ps) > 0 || len(others) != 3 {
		t.Errorf("a pair in place of itself: got %v", ps)
	}
	if ps := topology.PairProblems(nil, "m", between("b:/srv/x", "a:/srv/x")); len(ps) > 0 {
		t.Errorf("the only pair: got %v", ps)
	}
}
