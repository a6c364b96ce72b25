package agent_test

import (
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/google/go-cmp/cmp/cmpopts"
	"pgregory.net/rapid"

	"github.com/atollhq/terraform-provider-atoll/internal/agent"
)

// servers reads "a+ b- c!": well, only the application is not, and out for another reason.
func servers(text string) []agent.Server {
	var out []agent.Server
	for word := range strings.FieldsSeq(text) {
		name, how := word[:len(word)-1], word[len(word)-1]
		out = append(out, agent.NewServer(name, how == '+', how == '-'))
	}
	return out
}

func TestKeptInService(t *testing.T) {
	t.Parallel()
	tests := []struct {
		name    string
		minimum int
		servers string
		want    []string
	}{
		{"everything is well", 2, "a+ b+ c+", nil},
		{"no floor", 0, "a- b- c-", nil},
		{"enough are left", 2, "a+ b- c+", nil},
		{"the one that would be missing", 2, "a- b- c+", []string{"a"}},
		{"all at once", 2, "a- b- c-", []string{"a", "b"}},
		{"all at once, in any order", 2, "c- a- b-", []string{"a", "b"}},
		{"never one that is out for another reason", 2, "a! b- c-", []string{"b", "c"}},
		{"nobody to keep", 2, "a! b! c!", nil},
		{"fewer nodes than the floor", 3, "a- b!", []string{"a"}},
		{"a floor of all", 3, "a+ b- c+", []string{"b"}},
		{"no nodes", 2, "", nil},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			if diff := cmp.Diff(tt.want, agent.KeptInService(tt.minimum, servers(tt.servers)), cmpopts.EquateEmpty()); diff != "" {
				t.Errorf("kept (-want +got):\n%s", diff)
			}
		})
	}
}

// TestKeptInServiceProperties: what holds whatever a node knows of the others.
func TestKeptInServiceProperties(t *testing.T) {
	t.Parallel()
	rapid.Check(t, func(t *rapid.T) {
		all := rapid.SliceOfNDistinct(rapid.StringMatching(`[a-e]{1,2}[+!-]`), 0, 8, func(s string) string { return s[:len(s)-1] }).Draw(t, "servers")
		minimum := rapid.IntRange(0, 8).Draw(t, "minimum")
		kept := agent.KeptInService(minimum, servers(strings.Join(all, " ")))
		count := func(how string) (n int) {
			for _, s := range all {
				if strings.HasSuffix(s, how) {
					n++
				}
			}
			return n
		}
		if want := max(0, min(minimum-count("+"), count("-"))); len(kept) != want {
			t.Fatalf("kept %v, want %d nodes", kept, want)
		}
		for _, name := range kept {
			if !slices.Contains(all, name+"-") {
				t.Fatalf("%s is kept, which is not one whose application alone is unwell", name)
			}
		}
		// A node that knows less of another keeps no fewer.
		if len(all) > 0 {
			i := rapid.IntRange(0, len(all)-1).Draw(t, "forgotten")
			less := agent.KeptInService(minimum, servers(strings.Join(slices.Delete(slices.Clone(all), i, i+1), " ")))
			for _, name := range kept {
				if name != all[i][:len(all[i])-1] && !slices.Contains(less, name) {
					t.Fatalf("who does not know of %s lets %s go", all[i], name)
				}
			}
		}
	})
}
