package database_test

import (
	"strings"
	"testing"

	"github.com/atollhq/terraform-provider-atoll/internal/provider/database"
	"github.com/atollhq/terraform-provider-atoll/internal/provider/operator"
	"github.com/atollhq/terraform-provider-atoll/internal/spec"
)

// TestTooMany warns of voting members that no votes are for, whoever has made them, and of nobody else.
func TestTooMany(t *testing.T) {
	t.Parallel()
	members := func(of string, role spec.MemberRole, nodes ...string) map[string]spec.Member {
		out := map[string]spec.Member{}
		for _, n := range nodes {
			m := spec.Member{Database: of, Node: n, Role: role}
			out[m.Name()] = m
		}
		return out
	}
	merge := func(maps ...map[string]spec.Member) map[string]spec.Member {
		out := map[string]spec.Member{}
		for _, m := range maps {
			for name, one := range m {
				out[name] = one
			}
		}
		return out
	}
	three := members("app", spec.MemberVoter, "a", "b", "c")
	tests := []struct {
		name string
		seen map[string]spec.Member
		says []string
	}{
		{"as many as votes", three, nil},
		{"too few", members("app", spec.MemberVoter, "a"), nil},
		{"clients do not vote", merge(three, members("app", spec.MemberClient, "d", "e")), nil},
		{"those of another database", merge(three, members("shop", spec.MemberVoter, "a", "d")), nil},
		{"one too many", merge(three, members("app", spec.MemberVoter, "d")), []string{
			`Database "app" has 3 votes and 4 voting members (a, b, c, d)`, "no member restarts for new settings", "terraform import", "raise votes",
		}},
	}
	for _, tt := range tests {
		diags := database.TooMany("app", app(), operator.Known{DatabaseMembers: tt.seen})
		if (diags.WarningsCount() > 0) != (tt.says != nil) || diags.HasError() {
			t.Errorf("%s: got %v", tt.name, diags)
			continue
		}
		for _, words := range tt.says {
			if text := diags[0].Detail(); !strings.Contains(text, words) {
				t.Errorf("%s: %q is not in %q", tt.name, words, text)
			}
		}
	}
}
