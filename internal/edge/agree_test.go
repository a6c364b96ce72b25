package edge_test

import (
	"fmt"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/atollhq/terraform-provider-atoll/internal/edge"
	"github.com/atollhq/terraform-provider-atoll/internal/spec"
)

const hostname = "www.example.com"

// How one node sees another in these tests, by a letter: well, dead, silent in public only, unreachable over the mesh only,
// unknown in public.
var views = map[rune]spec.PeerStatus{
	'w': {Reachable: true, Alive: true, Public: &spec.PublicStatus{Answers: true}},
	'd': {Public: &spec.PublicStatus{Dead: true}},
	'p': {Reachable: true, Alive: true, Public: &spec.PublicStatus{}},
	'm': {Public: &spec.PublicStatus{Answers: true}},
	'?': {Reachable: true, Alive: true},
}

// name is a node's name by its number.
func name(n int) string { return string(rune('a' + n)) }

// balancer returns a load balancer of some nodes, of which those named have a token.
func balancer(nodes int, tokens string) spec.LoadBalancer {
	lb := spec.LoadBalancer{
		Nodes:   map[string]spec.ServingNode{},
		Removal: &spec.QuickRemoval{AccountID: "account", Endpoints: map[string]spec.PoolEndpoint{}, Tokens: map[string]string{}},
	}
	for n := range nodes {
		lb.Nodes[name(n)] = spec.ServingNode{Enabled: true, Port: 80}
		lb.Removal.Endpoints[name(n)] = spec.PoolEndpoint{Pool: "pool-" + name(n), Name: name(n)}
	}
	for _, n := range tokens {
		lb.Removal.Tokens[string(n)] = "sealed"
	}
	return lb
}

// sight makes what node "a" knows of rows, one a node: how it sees the others in their order, with '+' or '-' in its own place for
// being fit or not. An empty row is a node of which there is no fresh report.
func sight(tokens string, rows ...string) edge.Sight {
	s := edge.Sight{Self: "a", Hostname: hostname, Balancer: balancer(len(rows), tokens), Reports: map[string]spec.Status{}}
	for n, row := range rows {
		if row == "" {
			continue
		}
		status := spec.Status{Node: name(n), Peers: map[string]spec.PeerStatus{}, Serving: map[string]spec.ServingStatus{}}
		for other, view := range row {
			if other == n {
				status.Serving[hostname] = spec.ServingStatus{Fit: view == '+'}
				continue
			}
			status.Peers[name(other)] = views[view]
		}
		s.Reports[name(n)] = status
	}
	return s
}

func TestAgree(t *testing.T) {
	tests := []struct {
		name       string
		rows       []string
		dead, well string
	}{
		{"all well", []string{"+ww", "w+w", "ww+"}, "", "abc"},
		{"one of three is dead", []string{"+wd", "w+d", ""}, "c", "ab"},
		{"its last report is still here", []string{"+wd", "w+d", "ww+"}, "c", "ab"},
		{"only one says so", []string{"+wd", "w+w", "ww+"}, "", "ab"},
		{"silent in public only", []string{"+wp", "w+p", "ww+"}, "", "ab"},
		{"silent over the mesh only", []string{"+wm", "w+m", "ww+"}, "", "ab"},
		{"nobody asks in public yet", []string{"+w?", "w+?", "ww+"}, "", "ab"},
		{"not fit", []string{"+ww", "w+w", "ww-"}, "", "ab"},
		{"alone of three", []string{"+dd", "", ""}, "", ""},
		{"cut off, with old reports of the others", []string{"+dd", "w+w", "ww+"}, "", ""},
		{"two halves of four", []string{"+wdd", "w+dd", "", ""}, "", ""},
		{"two halves of four, with old reports", []string{"+wdd", "w+dd", "ww+w", "www+"}, "", ""},
		{"one of four", []string{"+wwd", "w+wd", "ww+d", ""}, "d", "abc"},
		{"one of four, one has not noticed", []string{"+wwd", "w+wd", "ww+w", ""}, "", "abc"},
		{"three and two of five", []string{"+wwdd", "w+wdd", "ww+dd", "", ""}, "de", "abc"},
		{"the two of them", []string{"+wddd", "w+ddd", "", "", ""}, "", ""},
		{"one of five, seen by three", []string{"+wwwd", "w+wwd", "ww+wd", "www+w", ""}, "e", "abcd"},
		{"one of five, seen by two", []string{"+wwwd", "w+wwd", "ww+ww", "www+w", ""}, "", "abcd"},
		{"one of five comes back while another is dead", []string{"+wwwd", "w+wwd", "ww+wd", "www+d", ""}, "e", "abcd"},
		{"most of five are dead at once", []string{"+wddd", "w+ddd", "www+w", "www+w", "wwww+"}, "", ""},
		{"two nodes are too few", []string{"+d", ""}, "", ""},
		{"an observer who is silent to this node", []string{"+dw", "w+d", "ww+"}, "", "ac"},
		{"nobody has reported", []string{"+ww", "", ""}, "", ""},
		{"six in halves", []string{"+wwddd", "w+wddd", "ww+ddd", "", "", ""}, "", ""},
		{"six in four and two", []string{"+wwwdd", "w+wwdd", "ww+wdd", "www+dd", "", ""}, "ef", "abcd"},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			a := edge.Agree(sight("", tt.rows...))
			if diff := cmp.Diff(tt.dead, keys(a.Dead)); diff != "" {
				t.Errorf("dead: -want +got\n%s", diff)
			}
			if diff := cmp.Diff(tt.well, keys(a.Well)); diff != "" {
				t.Errorf("well: -want +got\n%s", diff)
			}
			if len(a.Actors) != 0 {
				t.Errorf("without a token %v act", a.Actors)
			}
		})
	}
}

// keys returns the keys of a map in one text.
func keys[T any](m map[string]T) string {
	var b strings.Builder
	for n := range 26 {
		if _, ok := m[name(n)]; ok {
			b.WriteString(name(n))
		}
	}
	return b.String()
}

// TestPartsNeverBothDecide cuts clusters of every size in every way into two parts whose nodes see each other well and all others
// dead, and demands that at most one part takes nodes out, and only as long as it is more than half.
func TestPartsNeverBothDecide(t *testing.T) {
	for size := 3; size <= 9; size++ {
		for left := 1; left < size; left++ {
			decides := 0
			for _, part := range [][2]int{{0, left}, {left, size}} {
				// The part, seen by its first node; the names are turned so that it is "a".
				var rows []string
				for n := range size {
					row := []rune(strings.Repeat("d", size))
					for other := range part[1] - part[0] {
						row[other] = 'w'
					}
					row[n] = '+'
					if n >= part[1]-part[0] {
						rows = append(rows, "")
						continue
					}
					rows = append(rows, string(row))
				}
				a := edge.Agree(sight("", rows...))
				if len(a.Dead) > 0 {
					decides++
					if 2*(part[1]-part[0]) <= size {
						t.Errorf("%d of %d nodes decide", part[1]-part[0], size)
					}
				}
			}
			if decides > 1 {
				t.Errorf("both parts of %d nodes (%d and %d) decide", size, left, size-left)
			}
		}
	}
}

func TestActors(t *testing.T) {
	tests := []struct {
		name, tokens string
		hindered     string
		rows         []string
		want         []string
	}{
		{"by name", "abc", "", []string{"+ww", "w+w", "ww+"}, []string{"a", "b", "c"}},
		{"who has a token", "c", "", []string{"+ww", "w+w", "ww+"}, []string{"c"}},
		{"who is heard", "abc", "", []string{"+ww", "w+w", ""}, []string{"a", "b"}},
		{"not the dead", "abc", "", []string{"+wd", "w+d", "ww+"}, []string{"a", "b"}},
		{"one who is wrong about the others", "abc", "", []string{"+ww", "w+w", "dd+"}, []string{"a", "b", "c"}},
		{"the hindered last", "abc", "a", []string{"+ww", "w+w", "ww+"}, []string{"b", "c", "a"}},
		{"all hindered", "abc", "abc", []string{"+ww", "w+w", "ww+"}, []string{"a", "b", "c"}},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			s := sight(tt.tokens, tt.rows...)
			for _, n := range tt.hindered {
				report := s.Reports[string(n)]
				report.Conditions = []spec.Condition{{Type: spec.ConditionEdgeReady, Status: spec.ConditionFalse, Reason: "TokenRefused"}}
				s.Reports[string(n)] = report
			}
			if diff := cmp.Diff(tt.want, edge.Agree(s).Actors); diff != "" {
				t.Errorf("-want +got\n%s", diff)
			}
		})
	}
}

func TestQuorum(t *testing.T) {
	for nodes, want := range map[int]int{3: 2, 4: 3, 5: 3, 6: 4, 7: 4} {
		if got := edge.Quorum(nodes); got != want || 2*got <= nodes {
			t.Error(fmt.Errorf("quorum of %d is %d, want %d", nodes, got, want))
		}
	}
}
