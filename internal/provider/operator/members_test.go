package operator_test

import (
	"strings"
	"testing"

	"github.com/atollhq/terraform-provider-atoll/internal/provider/operator"
	"github.com/atollhq/terraform-provider-atoll/internal/spec"
)

func plannedMember(node, provider, site string) operator.PlannedMember {
	return operator.PlannedMember{
		Member: spec.Member{Database: "app", Node: node, Role: spec.MemberVoter}, Provider: provider, Site: site,
		Of: spec.Database{Votes: 3, Port: 3306, Bootstrap: spec.Bootstrap{Node: "a"}, Router: spec.DatabaseRouter{WritePort: 6446, ReadPort: 6447}},
	}
}

// TestPlanMember tells of a majority whoever completes it, in every order, and only him.
func TestPlanMember(t *testing.T) {
	t.Parallel()
	for _, order := range [][]string{{"a", "b", "c"}, {"c", "b", "a"}, {"b", "c", "a"}} {
		c := newCluster()
		told := 0
		for _, node := range order {
			provider := "linode"
			if node == "b" {
				provider = "colo"
			}
			ps, twice := c.PlanMember(plannedMember(node, provider, "site-"+node))
			if twice {
				t.Errorf("%s was planned twice", node)
			}
			for _, p := range ps {
				told++
				if p.Field != "node" || !strings.Contains(p.Message, `provider "linode" has 2 of the 3 votes`) {
					t.Errorf("got %v", p)
				}
			}
		}
		if told != 1 {
			t.Errorf("in order %q it was told %d times", order, told)
		}
		// One that moves mends it, and makes no other problem.
		if ps, _ := c.PlanMember(plannedMember("c", "vps", "site-c")); len(ps) != 0 {
			t.Errorf("moved: got %v", ps)
		}
		if ps, _ := c.PlanMember(plannedMember("d", "other", "site-d")); len(ps) != 1 || ps[0].Field != "role" {
			t.Errorf("a fourth voter of three: got %v", ps)
		}
		c.ForgetMember("app", "d")
	}
}

func TestPlanMemberTwice(t *testing.T) {
	t.Parallel()
	c := newCluster()
	m := plannedMember("a", "linode", "tokyo")
	m.New = true
	if _, twice := c.PlanMember(m); twice {
		t.Error("the first one is no second one")
	}
	m.New = false
	if _, twice := c.PlanMember(m); twice {
		t.Error("one that is replaced is planned to be changed first")
	}
	m.New = true
	_, _ = c.PlanMember(m)
	if _, twice := c.PlanMember(m); !twice {
		t.Error("a second one of the same name was not noticed")
	}
}

func TestPushedMembers(t *testing.T) {
	t.Parallel()
	c := newCluster()
	for _, node := range []string{"b", "a"} {
		m := plannedMember(node, "", "")
		_, _ = c.PlanMember(m)
		c.Pushed(spec.Ref{Kind: spec.KindMember, Name: m.Name()}, 7)
	}
	client := plannedMember("c", "", "")
	client.Role = spec.MemberClient
	_, _ = c.PlanMember(client)
	c.Pushed(spec.Ref{Kind: spec.KindMember, Name: client.Name()}, 7)
	if got := strings.Join(c.PushedMembers("app"), " "); got != "a b" {
		t.Errorf("got %q", got)
	}
	c.Pushed(spec.Ref{Kind: spec.KindMember, Name: "app.b"}, 0)
	if got := strings.Join(c.PushedMembers("app"), " "); got != "a" {
		t.Errorf("after a removal: got %q", got)
	}
	if c.PushedAt(spec.Ref{Kind: spec.KindMember, Name: "app.a"}) != 7 || c.PushedAt(spec.Ref{Kind: spec.KindDatabase, Name: "app"}) != 0 {
		t.Error("generations are wrong")
	}
}
