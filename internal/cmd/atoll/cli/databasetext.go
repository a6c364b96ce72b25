package cli

import (
	"fmt"
	"maps"
	"slices"
	"strings"
	"time"

	"github.com/jedib0t/go-pretty/v6/table"

	"github.com/atollhq/terraform-provider-atoll/internal/api"
	"github.com/atollhq/terraform-provider-atoll/internal/spec"
)

// databases shows a row for each member of each database, and what goes on with it.
func (r report) databases(b *strings.Builder) {
	if len(r.Databases) == 0 {
		return
	}
	t := newTable("Database", "Node", "Role", "State", "For", "Lag", "Version", "Router leads to")
	names := slices.Sorted(maps.Keys(r.Databases))
	for _, name := range names {
		members := r.Databases[name].Members
		for _, node := range slices.Sorted(maps.Keys(members)) {
			m := members[node]
			t.AppendRow(table.Row{name, node, roleOf(m), stateOf(m), r.ago(m.Since), lagOf(m), dash(m.Version), routerOf(m)})
		}
	}
	render(b, t)
	for _, name := range names {
		list(b, "database "+name, r.story(r.Databases[name]))
		if v := r.Databases[name]; v.Outage {
			r.evidence(b, v)
		}
	}
}

// story is what goes on with a database, in sentences; nothing while all is well.
func (r report) story(v api.DatabaseView) []string {
	var out []string
	switch {
	case v.Primary != "":
	case v.Incarnation == 0:
		out = append(out, "it has not begun: all of its voting members have to be heard first")
	case v.Outage:
		out = append(out, "OUTAGE: no member is online. It comes back by itself when all voting members have been heard and their data is in line; `atoll recover` shows what is missing")
	default:
		out = append(out, "nobody takes writes: the members that are there are no majority, or are about to choose a primary")
	}
	if c := v.Rollout; c != nil {
		out = append(out, rolloutOf(*c))
	}
	for _, node := range slices.Sorted(maps.Keys(v.Members)) {
		m := v.Members[node]
		if m.Stale {
			continue
		}
		for _, more := range []string{m.Progress, m.Problem, m.Router.Problem} {
			if more != "" {
				out = append(out, node+": "+more)
			}
		}
		for _, f := range m.Findings {
			out = append(out, fmt.Sprintf("%s: %s: %s", node, f.Check, f.Message))
		}
	}
	return out
}

func rolloutOf(c api.RolloutView) string {
	text := fmt.Sprintf("a change is being rolled out: done %s; waiting %s", words(c.Done), words(c.Waiting))
	if c.Turn != "" {
		text += "; it is the turn of " + c.Turn
	}
	if c.Stopped != "" {
		text += "; STOPPED: " + c.Stopped
	}
	return text
}

// evidence shows what each voting member has, as it said itself last.
func (r report) evidence(b *strings.Builder, v api.DatabaseView) {
	t := newTable("Node", "State", "Last heard", "Life", "Data")
	for _, node := range slices.Sorted(maps.Keys(v.Members)) {
		m := v.Members[node]
		if m.Role != spec.MemberVoter {
			continue
		}
		heard := "never"
		if !m.Seen.IsZero() {
			heard = m.Seen.UTC().Format(time.RFC3339)
		}
		t.AppendRow(table.Row{node, stateOf(m), heard, m.Incarnation, dash(strings.ReplaceAll(m.Position, "\n", ""))})
	}
	render(b, t)
}

func roleOf(m api.DatabaseMemberView) string {
	switch {
	case m.Role == spec.MemberClient:
		return "client"
	case m.Stale:
		return "voter"
	case m.Primary:
		return "PRIMARY"
	case m.State == spec.MemberOnline || m.State == spec.MemberRecovering || m.State == spec.MemberBlocked:
		return "secondary"
	default:
		return "voter"
	}
}

func stateOf(m api.DatabaseMemberView) string {
	if m.Stale {
		return "unheard of"
	}
	text := string(m.State)
	if m.RestartNeeded {
		text += ", to be restarted"
	}
	return text
}

func lagOf(m api.DatabaseMemberView) string {
	if m.Stale || m.Primary || m.State != spec.MemberOnline && m.State != spec.MemberRecovering {
		return "-"
	}
	text := fmt.Sprintf("%.1f s", m.Lag)
	if m.Queue > 0 {
		text += fmt.Sprintf(", %d waiting", m.Queue)
	}
	return text
}

func routerOf(m api.DatabaseMemberView) string {
	switch {
	case m.Stale:
		return "-"
	case !m.Router.Running:
		return "NOT RUNNING"
	case m.Router.Writer == "":
		return "nobody"
	case !m.Router.Writable:
		return m.Router.Writer + ", no writes"
	default:
		return m.Router.Writer
	}
}

// words lists names, or says that there is none.
func words(names []string) string {
	if len(names) == 0 {
		return "nobody"
	}
	return strings.Join(names, ", ")
}
