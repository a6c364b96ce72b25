package probes

import (
	"fmt"
	"math"
	"net/netip"
	"time"

	"github.com/atollhq/terraform-provider-atoll/internal/probe"
	"github.com/atollhq/terraform-provider-atoll/internal/spec"
)

const (
	// A link is lossy from lossyFrom on, and is none any more below lossyUntil.
	lossyFrom  = 0.05
	lossyUntil = 0.03
	// settled is how long a direction must be silent until that is said: an agent that starts again is silent as well.
	settled = 5 * time.Second
	// telling is how long the other end may take then to say how it is there.
	telling = 4 * time.Second
	// refused is how long the mesh may be without a direct way that is measured to be well until its keys are suspected.
	refused = 30 * time.Second
)

// facts are all that is known of one link.
type facts struct {
	self, peer    string
	port, apiPort int
	driver        spec.MeshDriver
	now           time.Time
	// link is the way between the public addresses, mesh how the peer is seen over the mesh.
	link    probe.Measurement
	mesh    spec.PeerStatus
	address netip.Addr
	// lookup is why there is no address.
	lookup error
	// theirs is what the peer says of the same link, nil when it says nothing; said is when that came.
	theirs *spec.LinkStatus
	said   time.Time
	// checked is how the peer's TCP ports answered; nil when they were not asked.
	checked *checked
	// away tells that the mesh does without the link because this node has decided so.
	away       bool
	clockWrong bool
	before     spec.LinkCondition
}

// direction is how one of the two is, in three words.
type direction int

const (
	unknown direction = iota
	works
	silent
)

// in is the direction from the peer, as this node sees it.
func (f facts) in() direction {
	switch d := f.link.In; {
	case !d.Known && f.now.Sub(d.Since) < settled:
		return unknown
	case !d.Known:
		return silent
	case !d.Silent:
		return works
	case f.now.Sub(d.Since) < settled:
		return unknown
	}
	return silent
}

// out is the direction to the peer: what its packets say of it, and otherwise what it reports.
func (f facts) out() direction {
	if d := f.link.Out; d.Known {
		switch {
		case !d.Silent:
			return works
		case f.now.Sub(d.Since) < settled:
			return unknown
		}
		return silent
	}
	if f.in() == silent && f.said.Sub(f.link.In.Since) < settled {
		return unknown // what the other end said before says nothing of now
	}
	if f.theirs != nil && f.theirs.In != nil {
		switch {
		case !f.theirs.In.Silent:
			return works
		case f.now.Sub(f.link.Out.Since) < settled:
			return unknown // it may be of the time before this agent began
		}
		return silent
	}
	if f.theirs != nil && (f.theirs.Condition == spec.LinkOneWay || f.theirs.Condition == spec.LinkCut) {
		return silent
	}
	return unknown
}

// early tells whether it is too early to say something else than before, or anything.
func (f facts) early() bool {
	in := f.in()
	return in == unknown || in == silent && f.out() == unknown && f.theirs != nil && f.now.Sub(f.link.In.Since) < settled+telling
}

// wantsCheck tells whether it is worth to ask the peer's TCP ports.
func (f facts) wantsCheck() bool {
	return f.address.IsValid() && (f.in() == silent || f.out() == silent || f.keySuspected())
}

// meshPort is the TCP port of the mesh that is worth to be asked, 0 for none: WireGuard has none, and where one end has left the
// link, its own rules answer.
func (f facts) meshPort() int {
	if f.driver == spec.MeshWireGuard || f.away || f.theirs != nil && f.theirs.Steering != nil && f.theirs.Steering.Away {
		return 0
	}
	return f.port
}

func (f facts) keySuspected() bool {
	return f.in() == works && f.out() == works && !f.away && !f.mesh.Direct && f.now.Sub(f.mesh.Since) >= refused &&
		(f.theirs == nil || f.theirs.Steering == nil || !f.theirs.Steering.Away)
}

// judge says how the link is. Since and Steering are left to the caller.
func (f facts) judge() spec.LinkStatus {
	s := spec.LinkStatus{Condition: spec.LinkDirect, In: shown(f.link.In), Out: shown(f.link.Out), RTT: math.Round(float64(f.link.RTT)/float64(time.Millisecond)*10) / 10}
	in, out := f.in(), f.out()
	switch {
	case f.lookup != nil:
		s.Condition, s.Cause = spec.LinkCut, spec.CauseNameResolution
		s.Message = fmt.Sprintf("%s has no address: the host names in its object cannot be resolved on %s (%v)", f.peer, f.self, f.lookup)
	case out == silent && in == works:
		s.Condition = spec.LinkOneWay
		s.Cause, s.Message = f.explain(f.self, f.peer, true)
	case in == silent && out == works:
		s.Condition = spec.LinkOneWay
		s.Cause, s.Message = f.explain(f.peer, f.self, false)
	case in == silent:
		s.Condition = spec.LinkCut
		s.Cause, s.Message = f.explain(f.self, f.peer, true)
	case f.keySuspected() && f.checked.mesh() == portOpen:
		s.Condition, s.Cause = spec.LinkCut, spec.CauseWrongKey
		s.Message = fmt.Sprintf("packets between %s and %s arrive in both directions, and TCP port %d of %s answers, but the mesh has no direct connection: one of the two does not accept the other's mesh key; condition Applied on either may say more",
			f.self, f.peer, f.port, f.peer)
	case f.lossy():
		s.Condition = spec.LinkLossy
		s.Message = fmt.Sprintf("%s -> %s loses %.0f %%, %s -> %s loses %.0f %% of the packets between their public addresses",
			f.self, f.peer, 100*f.link.Out.Loss.Slow, f.peer, f.self, 100*f.link.In.Loss.Slow)
	case f.small() > 0:
		s.Condition = spec.LinkMTU
		larger := "larger ones take the slower way, or the connection's other end is told to send smaller ones; set the link's mtu if it stays so"
		if f.driver == spec.MeshWireGuard {
			larger = "the mesh is told to send none that are larger"
		}
		s.Message = fmt.Sprintf("packets between %s and %s may not be larger than about %d bytes, the mesh sends up to %d: %s", f.self, f.peer, f.small(), probe.MeshNeeds, larger)
	}
	if !f.mesh.Reachable && in != works && f.lookup == nil {
		s.Condition = spec.LinkUnreachable
		if f.clockWrong {
			s.Cause = spec.CauseClock
			s.Message = fmt.Sprintf("%s does not reach %s, and the clock of one of them is wrong: set it, and certificates and reports are believed again", f.self, f.peer)
		}
		if s.Message == "" {
			s.Cause = spec.CausePath
			s.Message = fmt.Sprintf("%s does not answer %s, neither at its public address nor over the mesh", f.peer, f.self)
		}
	}
	return s
}

// explain says why packets of one node do not arrive at the other. Ours tells that the first is this node.
func (f facts) explain(from, to string, ours bool) (spec.LinkCause, string) {
	if ours && f.link.SendError != "" {
		return spec.CauseOwnFirewall, fmt.Sprintf("%s cannot send to %s, UDP port %d of %s: %s; its own firewall or its routes do not let it out", from, f.address, f.port, to, f.link.SendError)
	}
	oneWay := ""
	if f.in() == works || f.out() == works {
		oneWay = fmt.Sprintf(", while those of %s arrive at %s", to, from)
	}
	what := fmt.Sprintf("packets of %s do not arrive at UDP port %d of %s%s", from, f.port, to, oneWay)
	if !ours {
		return spec.CauseFilteredPort, fmt.Sprintf("%s: the firewall of %s, or one in front of it, does not let %s in: open %s %d of %s to %s", what, to, from, f.ports(), f.port, to, from)
	}
	switch mesh, api := f.checked.mesh(), f.checked.api(); {
	case mesh == portOpen:
		return spec.CauseFilteredPort, fmt.Sprintf("%s; TCP port %d answers: a firewall at %s lets in TCP but no UDP: open UDP port %d of %s to %s", what, f.port, to, f.port, to, from)
	case mesh == portUnknown && (api == portOpen || api == portRefused):
		return spec.CauseFilteredPort, fmt.Sprintf("%s, but the machine answers at TCP port %d: a firewall at %s does not let %s in: open %s %d of %s to %s", what, f.apiPort, to, from, f.ports(), f.port, to, from)
	case api == portOpen || mesh == portRefused || api == portRefused:
		return spec.CauseFilteredPort, fmt.Sprintf("%s, and TCP port %d does not answer either, but the machine does: a firewall at %s does not let %s in: open %s %d of %s to %s", what, f.port, to, from, f.ports(), f.port, to, from)
	case oneWay != "" && api == portSilent:
		return spec.CauseFilteredPort, fmt.Sprintf("%s; no TCP port of %s answers %s: a firewall at %s, or the network on that way, drops everything that comes from %s", what, to, from, to, from)
	case oneWay != "":
		return spec.CauseFilteredPort, fmt.Sprintf("%s: a firewall at %s, or the network on that way, drops what comes from %s", what, to, from)
	case api == portSilent:
		return spec.CausePath, what + ", and none of its other ports answer: the machine is off, or the network between the two is cut"
	}
	return spec.CausePath, what + ": the machine is off, or the network between the two is cut"
}

// ports are those that the mesh's driver needs open at the number of its port.
func (f facts) ports() string {
	if f.driver == spec.MeshWireGuard {
		return "UDP port"
	}
	return "UDP and TCP port"
}

func (f facts) lossy() bool {
	limit := lossyFrom
	if f.before == spec.LinkLossy {
		limit = lossyUntil
	}
	for _, d := range []probe.Direction{f.link.In, f.link.Out} {
		if d.Known && !d.Silent && d.Loss.Slow >= limit {
			return true
		}
	}
	return false
}

// takes returns the size of the largest packet that passes where that is less than the mesh needs, 0 where it is not, and whether that is known: where
// much gets lost, it may be large ones by chance.
func (f facts) takes() (size int, known bool) {
	if f.lossy() {
		return 0, false
	}
	size = f.small()
	return size, size != 0 || sized(f.link.In) && sized(f.link.Out)
}

// sized tells whether packets of all sizes have had the time to arrive.
func sized(d probe.Direction) bool { return d.Known && !d.Silent && d.Loss.Counted >= 300 }

// small returns the size of the largest packet that passes where that is less than the mesh needs; 0 where it is not, or is not
// known.
func (f facts) small() int {
	least := 0
	for _, d := range []probe.Direction{f.link.In, f.link.Out} {
		if !sized(d) || d.MTU >= probe.MeshNeeds {
			continue
		}
		size := max(d.MTU, probe.LeastLarge-1)
		if least == 0 || size < least {
			least = size
		}
	}
	return least
}
