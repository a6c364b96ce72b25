package topology_test

import (
	"fmt"
	"maps"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/atollhq/terraform-provider-atoll/internal/spec"
	"github.com/atollhq/terraform-provider-atoll/internal/topology"
)

// insteadOf returns a pair of trees that stands in for a centre; the first node leads.
func insteadOf(centre, one, other string) spec.Pair {
	p := between(one, other)
	p.Standby = &spec.PairStandby{For: centre, After: spec.DefaultStandbyAfter}
	return p
}

// star has a as its centre, b as the backup of that, and two other nodes.
func star() map[string]spec.Pair {
	return map[string]spec.Pair{
		"ab": between("a:/srv/x", "b:/srv/x"), "ac": between("a:/srv/x", "c:/srv/x"), "ad": between("a:/srv/x", "d:/srv/y"),
		"bc": insteadOf("a", "b:/srv/x", "c:/srv/x"), "bd": insteadOf("a", "b:/srv/x", "d:/srv/y"),
	}
}

func TestTurns(t *testing.T) {
	t.Parallel()
	without := func(names ...string) map[string]spec.Pair {
		pairs := star()
		for _, name := range names {
			delete(pairs, name)
		}
		return pairs
	}
	with := func(name string, p spec.Pair) map[string]spec.Pair {
		pairs := star()
		pairs[name] = p
		return pairs
	}
	for _, tt := range []struct {
		name  string
		pairs map[string]spec.Pair
		node  string
		want  []string
	}{
		{"at the centre", star(), "a", []string{"ab", "ac: ac or bc, by ab", "ad: ad or bd, by ab"}},
		{"at its backup", star(), "b", []string{"ab", "bc: ac or bc, by ab", "bd: ad or bd, by ab"}},
		{"at another node", star(), "d", []string{"ad: ad or bd, by ab", "bd: ad or bd, by ab"}},
		{"no pair with the centre", without("ad"), "d", []string{"bd: for nothing"}},
		{"no pair of the centre and the backup", without("ab"), "d", []string{"ad", "bd: for nothing"}},
		{"another tree with the centre", with("ad", between("a:/srv/x", "d:/srv/z")), "d", []string{"ad", "bd: for nothing"}},
		{"another tree at the centre", with("ad", between("a:/srv/z", "d:/srv/y")), "d", []string{"ad", "bd: for nothing"}},
		{"the centre does not lead", with("ad", between("d:/srv/y", "a:/srv/x")), "d", []string{"ad", "bd: for nothing"}},
		{"twice", with("xd", insteadOf("a", "b:/srv/x", "d:/srv/y")), "d", []string{"ad: ad or bd, by ab", "bd: ad or bd, by ab", "xd: for nothing"}},
	} {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			in := stored(nil)
			in.Pairs = tt.pairs
			v, err := topology.Derive(in, tt.node)
			if err != nil {
				t.Fatal(err)
			}
			var got []string
			for _, p := range v.Pairs {
				text := p.Name
				switch {
				case p.Turns != nil:
					text += fmt.Sprintf(": %s or %s, by %s", p.Turns.Home, p.Turns.Standby, p.Turns.Trunk)
					if p.Turns.Centre != "a" || p.Turns.Backup != "b" || p.Turns.After != spec.DefaultStandbyAfter || !p.Alternates() {
						t.Errorf("%s takes turns %+v", p.Name, *p.Turns)
					}
				case p.Alternates():
					text += ": for nothing"
				}
				got = append(got, text)
			}
			if diff := cmp.Diff(tt.want, got); diff != "" {
				t.Errorf("(-want +got):\n%s", diff)
			}
		})
	}
}

func TestCheckStandby(t *testing.T) {
	t.Parallel()
	for _, tt := range []struct {
		name        string
		change      map[string]spec.Pair
		field, says string
	}{
		{"a star with a backup", nil, "", ""},
		{"pairs are missing yet", map[string]spec.Pair{"ab": {}, "ad": {}}, "", ""},
		{"a circle of pairs that always work", map[string]spec.Pair{"bc": between("b:/srv/x", "c:/srv/x")}, "pairs.bc.ends", "circle"},
		{"the centre does not lead", map[string]spec.Pair{"ad": between("d:/srv/y", "a:/srv/x")}, "pairs.bd.leader", "does not lead its pair ad with d"},
		{"twice", map[string]spec.Pair{"xd": insteadOf("a", "b:/srv/x", "d:/srv/y")}, "pairs.xd", "pair bd stands in for pair ad, too"},
		{"two backups", map[string]spec.Pair{"bd": insteadOf("a", "c:/srv/x", "d:/srv/y")}, "pairs.bd.leader", "pair bc gives it another one"},
		{"within another tree", map[string]spec.Pair{"bd": insteadOf("a", "b:/srv/x/y", "d:/srv/y")}, "pairs.bd.ends.b.path", "lie within one another on b"},
		{"other excludes", map[string]spec.Pair{"ac": func() spec.Pair { p := between("a:/srv/x", "c:/srv/x"); p.Exclude = []string{"*.tmp"}; return p }()}, "pairs.bc", "exclude, owner or group are not those of pair ac"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			pairs := star()
			maps.Copy(pairs, tt.change)
			maps.DeleteFunc(pairs, func(_ string, p spec.Pair) bool { return p.Ends == nil })
			ps := topology.CheckPairs(pairs)
			switch {
			case tt.field == "" && len(ps) > 0:
				t.Errorf("problems: %v", ps)
			case tt.field != "" && (len(ps) == 0 || ps[0].Field != tt.field || !strings.Contains(ps[0].Message, tt.says)):
				t.Errorf("got %v; want a problem of %s that says %q", ps, tt.field, tt.says)
			}
		})
	}
}
