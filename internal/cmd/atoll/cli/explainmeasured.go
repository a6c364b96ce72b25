package cli

import (
	"cmp"
	"fmt"
	"maps"
	"slices"
	"strings"
	"time"

	"github.com/jedib0t/go-pretty/v6/table"

	"github.com/atollhq/terraform-provider-atoll/internal/api"
	"github.com/atollhq/terraform-provider-atoll/internal/spec"
)

// leftAlone tells whether the mesh does without the direct link on purpose, which is a finding of its own.
func (x *explanation) leftAlone(other string, l nodeLink) bool {
	if r, left := (api.LinkView{There: l.To, Back: l.From, Reports: l.Reports}).Left(); left {
		x.found(false, r.Steering.Since, fmt.Sprintf("nothing: it is used again by itself when it has been well for %s. Ask the providers about the line between the two sites", time.Duration(r.Steering.Hold)*time.Second),
			"%s leaves the direct link between %s and %s alone (%s): traffic goes by %s, where it was measured to fare better", r.Node, x.Node, other, r.Steering.Why, cmp.Or(r.Steering.Via, "another node"))
		return true
	}
	return false
}

// judgeMeasured says what both ends measured of the direct way between them. Where both say the same of it, it is said once.
func (x *explanation) judgeMeasured(other string, l nodeLink) {
	said := map[spec.LinkCondition]bool{}
	for _, r := range l.Reports {
		if r.Message == "" || said[r.Condition] {
			continue
		}
		said[r.Condition] = true
		x.found(false, r.Since, brokenNext(r.Condition, x.Node, other), "measured by %s: %s", r.Node, r.Message)
	}
}

// brokenNext says why a link that the mesh gets along with is to be mended.
func brokenNext(c spec.LinkCondition, a, b string) string {
	switch c {
	case spec.LinkOneWay, spec.LinkCut:
		return fmt.Sprintf("mend it before it matters: when the connection between %s and %s has to be made anew, or the node that traffic goes by dies, the two may not reach each other", a, b)
	case spec.LinkLossy:
		return "ask the providers about the line between the two sites"
	case spec.LinkDirect, spec.LinkMTU, spec.LinkUnreachable:
	}
	return ""
}

// measured shows the direct way to every other node, each direction by itself.
func (x explanation) measured(b *strings.Builder, r report) {
	t := newTable("Public address of", "Link", "For", x.Node+" -> peer", "peer -> "+x.Node, "RTT", "Largest packet")
	rows := 0
	for _, other := range slices.Sorted(maps.Keys(x.Links)) {
		l := x.Links[other]
		if len(l.Reports) == 0 {
			continue
		}
		worst, order := l.Reports[0], spec.LinkConditions()
		for _, one := range l.Reports[1:] {
			if slices.Index(order, one.Condition) > slices.Index(order, worst.Condition) {
				worst = one
			}
		}
		rows++
		t.AppendRow(table.Row{other, worst.Condition, r.ago(worst.Since), arrives(l.To.Measured), arrives(l.From.Measured), trip(l), largest(l)})
	}
	if rows > 0 {
		render(b, t)
	}
}

// arrives says how packets fare in one direction.
func arrives(m *api.Measured) string {
	switch {
	case m == nil:
		return "not known"
	case m.Silent:
		return "NOTHING ARRIVES"
	}
	return fmt.Sprintf("%.0f %% lost", m.Loss*100)
}

func trip(l nodeLink) string {
	for _, m := range []*api.Measured{l.To.Measured, l.From.Measured} {
		if m != nil && m.RTT > 0 {
			return fmt.Sprintf("%.1f ms", m.RTT)
		}
	}
	return "-"
}

func largest(l nodeLink) string {
	least := 0
	for _, m := range []*api.Measured{l.To.Measured, l.From.Measured} {
		if m != nil && m.MTU > 0 && (least == 0 || m.MTU < least) {
			least = m.MTU
		}
	}
	if least == 0 {
		return "-"
	}
	return fmt.Sprintf("%d bytes", least)
}
