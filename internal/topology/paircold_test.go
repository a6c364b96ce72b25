package topology_test

import (
	"strings"
	"testing"

	"github.com/atollhq/terraform-provider-atoll/internal/spec"
	"github.com/atollhq/terraform-provider-atoll/internal/topology"
)

// moving returns a pair of trees whose old directories are moved to a root on each node.
func moving(one, other, oneRoot, otherRoot string) spec.Pair {
	p := between(one, other)
	p.Cold = &spec.PairCold{OlderThan: 30, Pattern: spec.DefaultDatePattern, Interval: 60}
	for end, root := range map[string]string{one: oneRoot, other: otherRoot} {
		node, path, _ := strings.Cut(end, ":")
		p.Ends[node] = spec.PairEnd{Path: path, ColdPath: root}
	}
	return p
}

func TestCheckColdRoots(t *testing.T) {
	t.Parallel()
	for _, tt := range []struct {
		name        string
		x, y        spec.Pair
		field, says string
	}{
		{"beside one another", moving("a:/srv/x", "b:/srv/x", "/cold/x", "/cold/x"), moving("a:/srv/y", "b:/srv/y", "/cold/y", "/cold/y"), "", ""},
		{"one path on other nodes", moving("a:/srv/x", "b:/srv/x", "/cold/x", "/cold/x"), moving("c:/srv/y", "d:/srv/y", "/cold/x", "/srv/x"), "", ""},
		{"one root twice", moving("a:/srv/x", "b:/srv/x", "/cold/x", "/cold/x"), moving("a:/srv/y", "c:/srv/y", "/cold/x", "/cold/y"), "pairs.y.ends.a.cold_path", "the cold root /cold/x of pair x"},
		{"a root in another", moving("a:/srv/x", "b:/srv/x", "/cold/x", "/cold/x"), moving("a:/srv/y", "c:/srv/y", "/cold/x/y", "/cold/y"), "pairs.y.ends.a.cold_path", "lie within one another on a"},
		{"a root in a tree", moving("a:/srv/x", "b:/srv/x", "/srv/y/x", "/cold/x"), between("a:/srv/y", "b:/srv/y"), "pairs.x.ends.a.cold_path", "the tree /srv/y of pair y"},
		{"a tree in a root", between("a:/cold/y/x", "b:/srv/x"), moving("a:/srv/y", "c:/srv/y", "/cold/y", "/cold/y"), "pairs.y.ends.a.cold_path", "the tree /cold/y/x of pair x"},
		{"a star that moves", moving("a:/srv/x", "b:/srv/x", "/cold/x", "/cold/x"), between("a:/srv/x", "c:/srv/x"), "pairs.x.ends.a.path", "which is a tree of pair y, too"},
		{"a star that moves twice", moving("a:/srv/x", "b:/srv/x", "/cold/x", "/cold/x"), moving("a:/srv/x", "c:/srv/x", "/cold/y", "/cold/y"), "pairs.y.ends.a.path", "which is a tree of pair x, too"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			ps := topology.CheckPairs(map[string]spec.Pair{"x": tt.x, "y": tt.y})
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
