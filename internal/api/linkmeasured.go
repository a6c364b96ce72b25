package api

import (
	"fmt"
	"time"

	"github.com/atollhq/terraform-provider-atoll/internal/spec"
	"github.com/atollhq/terraform-provider-atoll/internal/store"
)

// Measured is how packets fare in one direction between the public addresses of two nodes, whatever way the mesh takes.
type Measured struct {
	// Silent tells that nothing arrives. Loss is from 0 to 1.
	Silent bool    `json:"silent,omitempty"`
	Loss   float64 `json:"loss"`
	// MTU is the size of the largest packet that arrived lately, in bytes with its IP header; 0 while none of the large ones did.
	MTU int `json:"mtu,omitempty"`
	// RTT is a round trip in milliseconds, 0 when unknown.
	RTT float64 `json:"rtt_ms,omitempty"`
}

// LinkReport is what one end says of the direct way between both.
type LinkReport struct {
	Node      string             `json:"node"`
	Condition spec.LinkCondition `json:"condition"`
	Cause     spec.LinkCause     `json:"cause,omitempty"`
	Since     time.Time          `json:"since"`
	// Message says what does not arrive, where, and what to do; "" for a link that is as it should be.
	Message string `json:"message,omitempty"`
	// Steering is what that end has decided of the link; nil for one that it never left, or long ago.
	Steering *spec.LinkSteering `json:"steering,omitempty"`
}

// measured returns how packets fare from one node to another: as the receiver counts them, or else as it told the sender.
func measured(from, to string, s *store.Snapshot, now time.Time) *Measured {
	var d *spec.LinkDirection
	var rtt float64
	if fresh(from, s, now) {
		link := s.Statuses[from].Links[to]
		d, rtt = link.Out, link.RTT
	}
	if fresh(to, s, now) {
		if link := s.Statuses[to].Links[from]; link.In != nil {
			d = link.In
		}
	}
	if d == nil {
		return nil
	}
	return &Measured{Silent: d.Silent, Loss: d.Loss, MTU: d.MTU, RTT: rtt}
}

// linkReports returns what both ends say of a link.
func linkReports(a, b string, s *store.Snapshot, now time.Time) []LinkReport {
	var out []LinkReport
	for _, ends := range [][2]string{{a, b}, {b, a}} {
		link, said := s.Statuses[ends[0]].Links[ends[1]]
		if !said || !fresh(ends[0], s, now) {
			continue
		}
		out = append(out, LinkReport{
			Node: ends[0], Condition: link.Condition, Cause: link.Cause, Since: notAfter(link.Since, now), Message: link.Message, Steering: link.Steering,
		})
	}
	return out
}

// Left tells whether one end leaves the direct link alone although packets pass there, and which. Of a link over which nothing arrives
// it is no news that it is not in use.
func (v LinkView) Left() (LinkReport, bool) {
	for _, d := range []Direction{v.There, v.Back} {
		if d.Measured != nil && d.Measured.Silent {
			return LinkReport{}, false
		}
	}
	for _, r := range v.Reports {
		if r.Steering != nil && r.Steering.Away {
			return r, true
		}
	}
	return LinkReport{}, false
}

// judgeMeasured says what ends say of a link over which the mesh gets through: it is what breaks next. Two ends that say the same
// of one link are heard once.
func (v LinkView) judgeMeasured(at time.Time) (warnings []string) {
	if r, left := v.Left(); left {
		warnings = append(warnings, fmt.Sprintf("link %s <-> %s is left alone by %s%s and goes by %s, since that loses less; it is used again when it is well%s",
			v.From, v.To, r.Node, since(r.Steering.Since), orUnknown(r.Steering.Via), v.notBefore(at)))
	}
	said := map[spec.LinkCondition]bool{}
	for _, r := range v.Reports {
		if r.Message == "" || said[r.Condition] || r.Condition == spec.LinkUnreachable {
			continue
		}
		said[r.Condition] = true
		warnings = append(warnings, fmt.Sprintf("link %s <-> %s is %s%s: %s", v.From, v.To, r.Condition, since(r.Since), r.Message))
	}
	return warnings
}

// notBefore says until when a link is left in any case, "" when that is over.
func (v LinkView) notBefore(at time.Time) string {
	var until time.Time
	for _, r := range v.Reports {
		if s := r.Steering; s != nil && s.Away {
			if ends := s.Since.Add(time.Duration(s.Hold) * time.Second); ends.After(until) {
				until = ends
			}
		}
	}
	if !until.After(at) {
		return ""
	}
	return ", not before " + until.UTC().Format(time.RFC3339)
}
