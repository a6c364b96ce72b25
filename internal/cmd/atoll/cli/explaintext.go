package cli

import (
	"fmt"
	"maps"
	"slices"
	"strings"
	"time"

	"github.com/jedib0t/go-pretty/v6/table"

	"github.com/atollhq/terraform-provider-atoll/internal/api"
)

// text is the explanation for people.
func (x explanation) text() string {
	var b strings.Builder
	// The clock and the forms of things are those of a report.
	r := report{ClusterStatus: api.ClusterStatus{Cluster: x.Cluster, Seen: x.Seen, At: x.At, Databases: x.Databases, Pairs: x.Pairs}}
	state := strings.ToUpper(string(x.State.State))
	if x.State.State == api.NodeReady {
		state = "ready"
	}
	if x.State.Maintenance != nil {
		state += ", in maintenance"
	}
	fmt.Fprintf(&b, "node %s of cluster %s is %s", x.Node, x.Cluster, state)
	if !x.State.Since.IsZero() {
		fmt.Fprintf(&b, " for %s", r.ago(x.State.Since))
	}
	fmt.Fprintf(&b, ", as %s sees it at %s\n", x.Seen, x.At.UTC().Format(time.RFC3339))
	fmt.Fprintf(&b, "  at %s, %s; mesh address %s; public %s\n", dash(x.State.Provider), dash(x.State.Site), x.State.MeshAddress, dash(strings.Join(x.State.Addresses, ", ")))
	fmt.Fprintf(&b, "  agent %s, last heard of %s; identity %s\n", dash(x.State.Version), heard(x.State), identity(x.State))
	x.meshKey(&b, r)
	x.findings(&b, r)
	x.conditions(&b, r)
	x.links(&b, r)
	x.measured(&b, r)
	r.databases(&b)
	r.pairs(&b)
	x.serving(&b, r)
	x.views(&b, r)
	var unanswered []string
	for _, node := range slices.Sorted(maps.Keys(x.Unanswered)) {
		unanswered = append(unanswered, fmt.Sprintf("%s: %s", node, x.Unanswered[node]))
	}
	list(&b, "did not answer from here", unanswered)
	return b.String()
}

func heard(v api.NodeView) string {
	if v.Age < 0 {
		return "never"
	}
	return fmt.Sprintf("%.0f s ago", v.Age)
}

func identity(v api.NodeView) string {
	if v.Identity.IsZero() {
		return "-"
	}
	return v.Identity.String()
}

func (x explanation) findings(b *strings.Builder, r report) {
	if len(x.Findings) == 0 {
		b.WriteString("nothing is wrong with it\n\n")
		return
	}
	for _, wrong := range []bool{true, false} {
		var lines []string
		for _, f := range x.Findings {
			if f.Wrong != wrong {
				continue
			}
			text := f.What
			if !f.Since.IsZero() {
				text += " (for " + r.ago(f.Since) + ")"
			}
			if f.Do != "" {
				text += "\nwhat to do: " + f.Do
			}
			lines = append(lines, text)
		}
		title := "wrong"
		if !wrong {
			title = "worth a look"
		}
		list(b, title, lines)
	}
}

func (x explanation) conditions(b *strings.Builder, r report) {
	if len(x.State.Conditions) == 0 {
		return
	}
	t := newTable("Condition", "Status", "Reason", "For")
	for _, c := range x.State.Conditions {
		status := "ok"
		if !c.Good() {
			status = "WRONG: " + string(c.Status)
		}
		t.AppendRow(table.Row{c.Type, status, dash(c.Reason), r.ago(c.Since)})
	}
	render(b, t)
}

func (x explanation) links(b *strings.Builder, r report) {
	if len(x.Links) == 0 {
		return
	}
	t := newTable("Peer", x.Node+" -> peer", "For", "RTT", "Loss", "peer -> "+x.Node, "For", "RTT", "Loss")
	for _, other := range slices.Sorted(maps.Keys(x.Links)) {
		l := x.Links[other]
		t.AppendRow(append(append(table.Row{other}, r.direction(l.To)...), r.direction(l.From)...))
	}
	render(b, t)
}

func (x explanation) serving(b *strings.Builder, r report) {
	if len(x.LoadBalancers) == 0 {
		return
	}
	t := newTable("Load balancer", "State", "For", "Why")
	for _, hostname := range slices.Sorted(maps.Keys(x.LoadBalancers)) {
		n := x.LoadBalancers[hostname]
		t.AppendRow(table.Row{hostname, n.State, r.ago(n.Since), dash(n.Reason)})
	}
	render(b, t)
}

func (x explanation) views(b *strings.Builder, r report) {
	if len(x.Views) == 0 {
		return
	}
	t := newTable("As seen by", "State", "For", "Report's age", "Why")
	for _, other := range slices.Sorted(maps.Keys(x.Views)) {
		v := x.Views[other]
		age := "-"
		if v.Age >= 0 {
			age = fmt.Sprintf("%.0f s", v.Age)
		}
		t.AppendRow(table.Row{other, v.State, r.ago(v.Since), age, dash(clipWords(v.Message))})
	}
	render(b, t)
}

// clipWords is the beginning of a message that is written in full elsewhere.
func clipWords(text string) string {
	const most = 60
	if runes := []rune(text); len(runes) > most {
		return string(runes[:most]) + "…"
	}
	return text
}
