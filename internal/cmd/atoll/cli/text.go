package cli

import (
	"cmp"
	"fmt"
	"maps"
	"slices"
	"strings"
	"time"

	"github.com/jedib0t/go-pretty/v6/table"
	"github.com/jedib0t/go-pretty/v6/text"

	"github.com/atollhq/terraform-provider-atoll/internal/api"
	"github.com/atollhq/terraform-provider-atoll/internal/spec"
)

// fewLinks is up to how many links are all shown. A larger mesh shows only those that somebody should look at.
const fewLinks = 15

// text is the report for people.
func (r report) text() string {
	var b strings.Builder
	verdict := "healthy"
	if !r.Healthy {
		verdict = "DEGRADED"
	}
	fmt.Fprintf(&b, "cluster %s is %s, as %s sees it at %s\n\n", r.Cluster, verdict, r.Seen, r.At.UTC().Format(time.RFC3339))
	r.nodes(&b)
	r.links(&b)
	r.loadBalancers(&b)
	r.databases(&b)
	r.pairs(&b)
	r.conditions(&b)
	list(&b, "wrong", r.Reasons)
	list(&b, "worth a look", r.Warnings)
	var unanswered []string
	for _, node := range slices.Sorted(maps.Keys(r.Unanswered)) {
		unanswered = append(unanswered, fmt.Sprintf("%s: %s", node, r.Unanswered[node]))
	}
	list(&b, "did not answer from here", unanswered)
	return b.String()
}

func (r report) nodes(b *strings.Builder) {
	t := newTable("Node", "At", "Mesh address", "State", "For", "Version")
	for _, name := range slices.Sorted(maps.Keys(r.Nodes)) {
		v := r.Nodes[name]
		state := string(v.State)
		if v.Maintenance != nil {
			state += ", in maintenance"
		}
		t.AppendRow(table.Row{name, v.Provider + " " + v.Site, v.MeshAddress, state, r.ago(v.Since), dash(v.Version)})
	}
	render(b, t)
}

func (r report) links(b *strings.Builder) {
	names := slices.Sorted(maps.Keys(r.Links))
	total := len(names)
	if total > fewLinks {
		names = slices.DeleteFunc(names, func(name string) bool {
			l := r.Links[name]
			return fine(l.There) && fine(l.Back)
		})
	}
	if len(names) > 0 {
		t := newTable("From", "To", "There", "For", "RTT", "Loss", "Back", "For", "RTT", "Loss")
		for _, name := range names {
			l := r.Links[name]
			t.AppendRow(append(append(table.Row{l.From, l.To}, r.direction(l.There)...), r.direction(l.Back)...))
		}
		render(b, t)
	}
	if hidden := total - len(names); hidden > 0 {
		fmt.Fprintf(b, "%d more links are up and direct in both directions\n\n", hidden)
	}
}

// fine tells whether a direction is as it should be.
func fine(d api.Direction) bool { return d.State == api.UpDirect && d.Loss < api.LossWorthWarning }

func (r report) direction(d api.Direction) []any {
	state := map[api.DirectionState]string{
		api.UpDirect: "direct", api.UpIndirect: "via " + dash(d.Via), api.Down: "DOWN",
	}[d.State]
	if state == "" {
		state = "unknown"
	}
	rtt, loss := "-", "-"
	if d.RTT > 0 {
		rtt = fmt.Sprintf("%.1f ms", d.RTT)
	}
	if d.State == api.UpDirect || d.State == api.UpIndirect {
		loss = fmt.Sprintf("%.0f %%", d.Loss*100)
	}
	return []any{state, r.ago(d.Since), rtt, loss}
}

// loadBalancers shows a row for each node of each load balancer.
func (r report) loadBalancers(b *strings.Builder) {
	if len(r.LoadBalancers) == 0 {
		return
	}
	t := newTable("Load balancer", "Node", "State", "For", "Why")
	for _, hostname := range slices.Sorted(maps.Keys(r.LoadBalancers)) {
		nodes := r.LoadBalancers[hostname].Nodes
		for _, name := range slices.Sorted(maps.Keys(nodes)) {
			n := nodes[name]
			t.AppendRow(table.Row{hostname, name, n.State, r.ago(n.Since), dash(n.Reason)})
		}
	}
	render(b, t)
}

// conditions shows a row for each node and a column for each condition that some node reports.
func (r report) conditions(b *strings.Builder) {
	var types []spec.ConditionType
	names := slices.Sorted(maps.Keys(r.Nodes))
	for _, name := range names {
		for _, c := range r.Nodes[name].Conditions {
			if !slices.Contains(types, c.Type) {
				types = append(types, c.Type)
			}
		}
	}
	if len(types) == 0 {
		return
	}
	head := []any{"Node"}
	for _, c := range types {
		head = append(head, string(c))
	}
	t := newTable(head...)
	for _, name := range names {
		row := table.Row{name}
		for _, kind := range types {
			cell := "-"
			if c, ok := r.Nodes[name].Condition(kind); ok && c.Good() {
				cell = "ok " + r.ago(c.Since)
			} else if ok {
				cell = fmt.Sprintf("%s %s", strings.ToUpper(cmp.Or(c.Reason, string(c.Status))), r.ago(c.Since))
			}
			row = append(row, cell)
		}
		t.AppendRow(row)
	}
	render(b, t)
}

// ago is the time from t until the report was made, in its largest units.
func (r report) ago(t time.Time) string {
	d := r.At.Sub(t)
	switch {
	case t.IsZero():
		return "-"
	case d < time.Second:
		return "0s"
	case d < 2*time.Minute:
		return d.Truncate(time.Second).String()
	case d < 2*time.Hour:
		return fmt.Sprintf("%dm", int(d.Minutes()))
	case d < 48*time.Hour:
		return fmt.Sprintf("%dh", int(d.Hours()))
	default:
		return fmt.Sprintf("%dd", int(d.Hours()/24))
	}
}

func dash(s string) string {
	if s == "" {
		return "-"
	}
	return s
}

func list(b *strings.Builder, title string, lines []string) {
	if len(lines) == 0 {
		return
	}
	fmt.Fprintf(b, "%s:\n", title)
	for _, line := range lines {
		fmt.Fprintf(b, "  - %s\n", strings.ReplaceAll(line, "\n", "\n    "))
	}
	b.WriteByte('\n')
}

func newTable(head ...any) table.Writer {
	t := table.NewWriter()
	style := table.StyleDefault
	style.Format.Header = text.FormatDefault
	style.Options = table.OptionsNoBordersAndSeparators
	style.Box.PaddingLeft, style.Box.PaddingRight = "", "  "
	t.SetStyle(style)
	t.AppendHeader(head)
	return t
}

// render writes the table without the blanks at the ends of its lines.
func render(b *strings.Builder, t table.Writer) {
	for line := range strings.Lines(t.Render() + "\n") {
		b.WriteString(strings.TrimRight(line, " \n") + "\n")
	}
	b.WriteByte('\n')
}
