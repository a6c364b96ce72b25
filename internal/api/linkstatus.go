package api

import (
	"fmt"
	"time"

	"github.com/atollhq/terraform-provider-atoll/internal/spec"
	"github.com/atollhq/terraform-provider-atoll/internal/store"
)

// DirectionState is one word for how traffic from one node to another fares.
type DirectionState string

// The states of a direction.
const (
	UpDirect    DirectionState = "up-direct"
	UpIndirect  DirectionState = "up-indirect"
	Down        DirectionState = "down"
	UnknownLink DirectionState = "unknown"
)

// LossWorthWarning is the share of lost probes from which a link is mentioned, once its state is LossWorthSince old: of the
// few probes before that, one lost is a large share.
const (
	LossWorthWarning = 0.05
	LossWorthSince   = 30 * time.Second
)

// LinkView is a pair of nodes in the status of its cluster.
type LinkView struct {
	From string `json:"from"`
	To   string `json:"to"`
	// Named tells whether the operator described this link; every other pair is in the mesh all the same.
	Named    bool              `json:"named"`
	Settings spec.LinkSettings `json:"settings"`
	// There is the direction From -> To, Back the other.
	There Direction `json:"there"`
	Back  Direction `json:"back"`
	// Reports are what both ends say of the direct way between them, where they measure it.
	Reports []LinkReport `json:"reports,omitempty"`
}

// Direction is how traffic from one node to the other fares, as its first node reports.
type Direction struct {
	State DirectionState `json:"state"`
	// Via is the node that traffic goes by when it does not go directly.
	Via   string    `json:"via,omitempty"`
	Since time.Time `json:"since"`
	// RTT is in milliseconds, 0 when unknown. Loss is from 0 to 1.
	RTT  float64 `json:"rtt_ms"`
	Loss float64 `json:"loss"`
	// Measured is the direct way between the public addresses, nil where it is not measured.
	Measured *Measured `json:"measured,omitempty"`
}

func linkView(a, b string, s *store.Snapshot, now time.Time) LinkView {
	v := LinkView{From: a, To: b}
	if l, ok := s.Links[spec.LinkName(a, b)]; ok {
		v.From, v.To, v.Named, v.Settings = l.From, l.To, true, l.Settings
	}
	v.There, v.Back = direction(v.From, v.To, s, now), direction(v.To, v.From, s, now)
	v.There.Measured, v.Back.Measured = measured(v.From, v.To, s, now), measured(v.To, v.From, s, now)
	v.Reports = linkReports(v.From, v.To, s, now)
	v.There.Since, v.Back.Since = notAfter(v.There.Since, now), notAfter(v.Back.Since, now)
	return v
}

func direction(from, to string, s *store.Snapshot, now time.Time) Direction {
	status, reported := s.Statuses[from]
	if !reported {
		return Direction{State: UnknownLink}
	}
	peer, sees := status.Peers[to]
	switch {
	case !fresh(from, s, now):
		return Direction{State: UnknownLink, Since: s.Received[from]}
	case !sees:
		return Direction{State: UnknownLink}
	case !peer.Reachable:
		return Direction{State: Down, Since: peer.Since, Loss: peer.Loss}
	case peer.Direct:
		return Direction{State: UpDirect, Since: peer.Since, RTT: peer.RTT, Loss: peer.Loss}
	default:
		return Direction{State: UpIndirect, Via: peer.NextHop, Since: peer.Since, RTT: peer.RTT, Loss: peer.Loss}
	}
}

// judge says what is wrong with the link. Of a link whose end is not up nothing is said: the node is what is wrong, or it
// is in maintenance.
func (v LinkView) judge(nodes map[string]NodeView, at time.Time) (reasons, warnings []string) {
	for _, name := range []string{v.From, v.To} {
		if nodes[name].Maintenance != nil {
			return nil, nil
		}
		switch nodes[name].State {
		case NodeDown, NodeSilent, NodeJoining:
			return nil, nil
		case NodeReady, NodeNotReady:
		}
	}
	warnings = v.judgeMeasured(at)
	_, left := v.Left()
	// Two nodes that nobody can call never have a direct way.
	apart := len(nodes[v.From].Addresses) == 0 && len(nodes[v.To].Addresses) == 0
	for _, d := range []struct {
		from, to string
		Direction
	}{{v.From, v.To, v.There}, {v.To, v.From, v.Back}} {
		name := fmt.Sprintf("link %s -> %s", d.from, d.to)
		switch d.State {
		case UpDirect:
		case UpIndirect:
			if !left && !apart {
				reasons = append(reasons, fmt.Sprintf("%s has no direct path%s, it goes by %s", name, since(d.Since), orUnknown(d.Via)))
			}
		case Down:
			reasons = append(reasons, fmt.Sprintf("%s is down%s", name, since(d.Since)))
		default:
			reasons = append(reasons, fmt.Sprintf("%s is not measured yet", name))
		}
		if d.State != Down && d.Loss >= LossWorthWarning && at.Sub(d.Since) >= LossWorthSince {
			warnings = append(warnings, fmt.Sprintf("%s loses %.0f %% of its packets", name, d.Loss*100))
		}
	}
	return reasons, warnings
}

func orUnknown(node string) string {
	if node == "" {
		return "another node"
	}
	return node
}
