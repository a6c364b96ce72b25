package probe

import "time"

// Packet, Track and their parts for tests.
type (
	Packet = packet
	NodeID = nodeID
)

// PacketSize is the length of a small packet without UDP and IP headers.
const PacketSize = packetSize

// NewID names a node.
func NewID(cluster, node string) NodeID { return newNodeID(cluster, node) }

// Numbered returns a packet of that number.
func Numbered(from, to NodeID, run uint64, number uint32) Packet {
	return packet{from: from, to: to, run: run, number: number, interval: 200 * time.Millisecond, seen: 5, held: 7, heard: 9, heardRun: 11, heardSent: 13, sent: 15, largest: 1492}
}

// Seal returns a packet as bytes.
func Seal(p Packet, key []byte, size int) []byte { return p.seal(key, size) }

// Unseal returns the packet of bytes, and whether it has the form of one and was made with the key.
func Unseal(key, b []byte) (Packet, bool) {
	if _, _, ok := ends(b); !ok {
		return packet{}, false
	}
	return unseal(key, b)
}

// End is one end of a path whose time the test makes.
type End struct {
	*track
	Run   uint64
	start time.Time
}

// NewEnd returns an end that was started.
func NewEnd(run uint64, now time.Time) *End { return &End{track: newTrack(now), Run: run, start: now} }

// Restart makes it one whose agent was started again.
func (e *End) Restart(now time.Time) { e.track, e.start, e.Run = newTrack(now), now, e.Run+1_000_000 }

// Next returns its next packet.
func (e *End) Next(now time.Time) Packet {
	p := packet{run: e.Run, interval: 200 * time.Millisecond, sent: uint64(now.Sub(e.start).Microseconds())} //nolint:gosec // positive
	return e.next(p, now, time.Minute)
}

// NextEvery is Next for a sender of another pace.
func (e *End) NextEvery(now time.Time, interval time.Duration) Packet {
	p := packet{run: e.Run, interval: interval, sent: uint64(now.Sub(e.start).Microseconds())} //nolint:gosec // positive
	return e.next(p, now, time.Minute)
}

// Take takes a packet.
func (e *End) Take(p Packet, now time.Time) bool {
	return e.take(p, packetSize, e.Run, e.start, now)
}

// Set returns the packets of all sizes that are due, by their sizes; none where none are. One set is sent in every time.
func (e *End) Set(now time.Time, every time.Duration) map[int]Packet {
	if e.number == 0 || !e.taken.due(now, every) {
		return nil
	}
	out := map[int]Packet{}
	for _, size := range sizes() {
		p := e.describe(packet{run: e.Run, interval: 200 * time.Millisecond, large: true}, now, setMemory)
		out[size] = p
	}
	return out
}

// TakeSize takes a packet of a size.
func (e *End) TakeSize(p Packet, size int, now time.Time) { e.take(p, size, e.Run, e.start, now) }

// Largest are the sizes of the largest packets that arrive here and there.
func (e *End) Largest() (in, out int) { return e.sizes.most(setMemory), e.taken.most }

// setMemory is how long a large packet counts.
const setMemory = 55 * time.Second

// Tick is a look at the clock.
func (e *End) Tick(now time.Time) { e.tick(now) }

// In, Out and RTT are what it measured.
func (e *End) In() Direction      { return e.in.Direction }
func (e *End) Out() Direction     { return e.out.Direction }
func (e *End) RTT() time.Duration { return e.rtt }

// Attention is what all paths of a node share.
type Attention = attention

// Pace says when packets of one path are due.
type Pace struct{ pace }

// Due tells whether a packet is to be sent now.
func (p *Pace) Due(a *Attention, in, out Direction, interval time.Duration, now time.Time) bool {
	return p.due(a, in, out, interval, now)
}

// Add takes one packet into the averages.
func (l *Loss) Add(lost bool) { l.add(lost) }
