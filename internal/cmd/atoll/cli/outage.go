package cli

import (
	"fmt"
	"maps"
	"slices"
	"strings"
	"time"

	"github.com/atollhq/terraform-provider-atoll/internal/api"
	"github.com/atollhq/terraform-provider-atoll/internal/cmd/atoll/gtid"
	"github.com/atollhq/terraform-provider-atoll/internal/spec"
)

// outageCase is what the nodes that answer know, together, of a database's members.
type outageCase struct {
	name    string
	view    api.DatabaseView
	members map[string]api.DatabaseMemberView
	// leaders are the nodes that members have promised to follow and that are no members any more, with who has.
	leaders map[string][]string
	// next is a life of the group that nobody has begun or promised, generation the newest of any decision before.
	next, generation uint64
}

// newOutageCase puts together what all nodes say: in halves that do not hear each other, each knows the members of its own.
func newOutageCase(name string, v api.DatabaseView, answers []answer) outageCase {
	c := outageCase{name: name, view: v, members: map[string]api.DatabaseMemberView{}, leaders: map[string][]string{}, next: v.NextIncarnation}
	ref := spec.Ref{Kind: spec.KindRecovery, Name: name}
	for _, a := range answers {
		if a.err != nil {
			continue
		}
		c.generation = max(c.generation, a.status.Generations[ref])
		other := a.status.Databases[name]
		c.next = max(c.next, other.NextIncarnation)
		if c.view.Primary == "" {
			c.view.Primary = other.Primary
		}
		for node, m := range other.Members {
			have, known := c.members[node]
			if m.Role == spec.MemberVoter && (!known || have.Stale && !m.Stale || have.Stale == m.Stale && m.Seen.After(have.Seen)) {
				c.members[node] = m
			}
		}
	}
	for _, node := range c.voters() {
		leader := c.members[node].Promised
		if _, there := c.members[leader]; leader != "" && !there {
			c.leaders[leader] = append(c.leaders[leader], node)
		}
	}
	return c
}

func (c outageCase) voters() []string { return slices.Sorted(maps.Keys(c.members)) }

// missing returns the members that nobody hears.
func (c outageCase) missing() []string {
	return slices.DeleteFunc(c.voters(), func(n string) bool { return !c.members[n].Stale && c.members[n].State != api.MemberUnknown })
}

func (c outageCase) found(cluster string) recovered {
	done := recovered{
		Cluster: cluster, Database: c.name, Primary: c.view.Primary, Writable: c.view.Primary != "", Members: map[string]memberEvidence{}, Waiting: c.waiting(),
	}
	for node, m := range c.members {
		done.Members[node] = memberEvidence{
			State: m.State, Heard: !m.Stale, Seen: m.Seen, Incarnation: m.Incarnation, Position: m.Position, Problem: m.Problem,
		}
	}
	return done
}

// waiting says what keeps the database from coming back by itself.
func (c outageCase) waiting() []string {
	if c.view.Primary != "" {
		return nil
	}
	var out []string
	if n := len(c.members); n < c.view.Votes {
		out = append(out, fmt.Sprintf("the database has %d votes and the nodes that answer know of %d voting members: add the missing atoll_database_member, an empty one will do", c.view.Votes, n))
	}
	for _, leader := range slices.Sorted(maps.Keys(c.leaders)) {
		out = append(out, fmt.Sprintf("%s has promised to follow %s, which is no member any more: start its machine and make it a member again, or name it with --accept-loss-from when it is gone for good",
			strings.Join(c.leaders[leader], ", "), leader))
	}
	for _, node := range c.missing() {
		m := c.members[node]
		if m.Seen.IsZero() {
			out = append(out, node+" has not been heard of at all: start its machine")
			continue
		}
		out = append(out, fmt.Sprintf("%s was last heard of at %s: start its machine", node, m.Seen.UTC().Format(time.RFC3339)))
	}
	for _, node := range c.voters() {
		if m := c.members[node]; !m.Stale && m.Problem != "" {
			out = append(out, node+": "+m.Problem)
		}
	}
	return out
}

// decide returns the decision to go on without some members.
func (c outageCase) decide(loss []string, reason string, now time.Time) (spec.Recovery, error) {
	loss = slices.Compact(slices.Sorted(slices.Values(loss)))
	if c.view.Primary != "" {
		return spec.Recovery{}, fmt.Errorf("database %s takes writes at %s: there is nothing to recover, and nothing was decided", c.name, c.view.Primary)
	}
	for _, node := range loss {
		_, known := c.members[node]
		if _, promised := c.leaders[node]; !known && !promised {
			return spec.Recovery{}, fmt.Errorf("node %q is no voting member of database %s; those are %s", node, c.name, strings.Join(c.voters(), ", "))
		}
	}
	kept := slices.DeleteFunc(c.voters(), func(n string) bool { return slices.Contains(loss, n) })
	if len(kept) == 0 {
		return spec.Recovery{}, fmt.Errorf("that names every member of database %s: somebody's data has to be what it goes on with", c.name)
	}
	for _, node := range kept {
		if slices.Contains(c.missing(), node) {
			return spec.Recovery{}, fmt.Errorf("%s does not answer either, and is not named: the database would go on waiting for it. Start its machine, or name it too if its data is to be given up", node)
		}
	}
	r := spec.Recovery{Incarnation: c.next, AcceptLossFrom: loss, Reason: reason, Since: now}
	return r, r.Validate().Err()
}

// losses says what is given up with the data of some members, as far as anybody knows it.
func (c outageCase) losses(loss []string) []string {
	kept := gtid.Set{}
	sure := true
	for node, m := range c.members {
		set, err := gtid.Parse(m.Position)
		if !slices.Contains(loss, node) {
			kept, sure = kept.Union(set), sure && err == nil
		}
	}
	out := make([]string, 0, len(loss))
	for _, node := range loss {
		m, known := c.members[node]
		set, err := gtid.Parse(m.Position)
		switch {
		case !known:
			out = append(out, fmt.Sprintf("%s is no member any more, and %s has promised to follow it: whatever it has acknowledged since and no other member has is lost to the database", node, strings.Join(c.leaders[node], ", ")))
		case err == nil && sure && m.Position != "" && !m.Stale:
			if own := set.Minus(kept); own.Count() > 0 {
				out = append(out, fmt.Sprintf("%s has %d transactions that no other member has (%s): they are lost to the database", node, own.Count(), own))
			} else {
				out = append(out, fmt.Sprintf("%s has nothing that the others do not have", node))
			}
		case m.Position != "" && err == nil && sure:
			own := set.Minus(kept)
			out = append(out, fmt.Sprintf("%s had %d transactions that no other member has when it was last heard of (%s), and may have acknowledged more since", node, own.Count(), m.Seen.UTC().Format(time.RFC3339)))
		case !m.Stale && m.State == spec.MemberPreparing && m.Incarnation > 0:
			out = append(out, fmt.Sprintf("%s has no data any more: whatever it had acknowledged and no other member has is lost to the database", node))
		case m.Seen.IsZero():
			out = append(out, fmt.Sprintf("nobody knows what %s has: whatever it has acknowledged and no other member has is lost to the database", node))
		default:
			out = append(out, fmt.Sprintf("nobody knows what %s has had since it was last heard of (%s): whatever it has acknowledged and no other member has is lost to the database", node, m.Seen.UTC().Format(time.RFC3339)))
		}
	}
	return out
}

// text shows the evidence.
func (c outageCase) text(r report) string {
	var b strings.Builder
	if c.view.Primary != "" {
		fmt.Fprintf(&b, "database %s of cluster %s takes writes at %s: there is nothing to recover\n", c.name, r.Cluster, c.view.Primary)
		return b.String()
	}
	heard := len(c.members) - len(c.missing())
	fmt.Fprintf(&b, "database %s of cluster %s takes no writes; %d of its %d voting members are heard\n\n", c.name, r.Cluster, heard, c.view.Votes)
	shown := c.view
	shown.Members = c.members
	r.evidence(&b, shown)
	waiting := c.waiting()
	if len(waiting) == 0 {
		b.WriteString("All are heard. The members settle among themselves who begins; look again in some seconds.\n")
		return b.String()
	}
	list(&b, "it waits for this", waiting)
	b.WriteString("When that is mended it comes back by itself and loses nothing.\n")
	if missing := c.missing(); len(missing) > 0 && len(missing) < len(c.members) {
		fmt.Fprintf(&b, "If it cannot be mended: atoll recover --database %s --accept-loss-from %s\n", c.name, strings.Join(append(missing, slices.Sorted(maps.Keys(c.leaders))...), ","))
	}
	return b.String()
}

// warning names what a decision gives up.
func (c outageCase) warning(loss, losses []string) string {
	var b strings.Builder
	b.WriteByte('\n')
	list(&b, "going on without "+strings.Join(loss, ", ")+" means", losses)
	var silent []string
	for _, node := range c.missing() {
		if slices.Contains(loss, node) {
			silent = append(silent, node)
		}
	}
	if len(silent)*2 > c.view.Votes {
		fmt.Fprintf(&b, "%s are a majority and are not heard from here: if they run, they may be taking writes at this moment. Make sure that they are off.\n", strings.Join(silent, ", "))
	} else if len(silent) > 0 {
		fmt.Fprintf(&b, "Make sure that %s cannot come back with a group of its own: if it runs and only cannot be reached from here, switch it off.\n", strings.Join(silent, ", "))
	}
	return b.String()
}
