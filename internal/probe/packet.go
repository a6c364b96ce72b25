package probe

import (
	"crypto/hmac"
	"crypto/sha256"
	"encoding/binary"
	"time"
)

// magic begins every packet. tinc's and WireGuard's packets begin with a number or a type that is another one.
const magic = 0xa7011e57

// The layout of a packet: big endian, after the magic a version of the layout, the kind, and what the fields of packet say. The
// authentication code is over everything before it; what fills a large packet comes after it and is not looked at.
const (
	layoutVersion = 1
	macSize       = 16
	bodySize      = 4 + 1 + 1 + 2 + 8 + 8 + 8 + 4 + 8 + 8 + 4 + 8 + 4 + 8 + 2
	packetSize    = bodySize + macSize
	udpHeader     = 8
)

// Path is by which network a packet goes.
type Path uint8

// The paths.
const (
	// Public is the network between the nodes' public addresses.
	Public Path = iota
	// Mesh is the private network, by whatever way it takes.
	Mesh
)

// Paths lists every path.
func Paths() []Path { return []Path{Public, Mesh} }

// String returns "public" or "mesh".
func (p Path) String() string {
	if p == Mesh {
		return "mesh"
	}
	return "public"
}

// nodeID is a short name of a node within its cluster.
type nodeID [8]byte

func newNodeID(cluster, node string) nodeID {
	sum := sha256.Sum256([]byte(cluster + "\x00" + node))
	return nodeID(sum[:8])
}

// packet is one probe. Its times are those of its sender's own clock, and mean something to the sender alone.
type packet struct {
	path Path
	// large tells that the packet is there for its size, and is not counted.
	large    bool
	from, to nodeID
	// run is when the sender started, in microseconds since 1970; number counts the packets of that run on that path, from 1.
	run    uint64
	number uint32
	// interval is the time to the sender's next packet.
	interval time.Duration
	// sent is when it was sent, in microseconds since the sender's start.
	sent uint64
	// heardRun, heard and heardSent are those of the last packet that the sender got from the receiver, held how long ago that was in
	// microseconds; 0 for none.
	heardRun  uint64
	heard     uint32
	heardSent uint64
	held      uint32
	// seen tells of the 64 packets up to heard which have arrived: bit i stands for heard-i.
	seen uint64
	// largest is the size of the largest packet that has arrived lately, in bytes with all headers, or at once less where large ones do not seem to
	// arrive any more; 0 for none.
	largest uint16
}

// seal returns the packet as bytes with its authentication code, filled up to size.
func (p packet) seal(key []byte, size int) []byte {
	b := make([]byte, 0, max(size, packetSize))
	kind := byte(p.path)
	if p.large {
		kind |= 0x80
	}
	b = binary.BigEndian.AppendUint32(b, magic)
	b = append(b, layoutVersion, kind)
	b = binary.BigEndian.AppendUint16(b, uint16(min(p.interval.Milliseconds(), 65535))) //nolint:gosec // it fits
	b = append(append(b, p.from[:]...), p.to[:]...)
	b = binary.BigEndian.AppendUint64(b, p.run)
	b = binary.BigEndian.AppendUint32(b, p.number)
	b = binary.BigEndian.AppendUint64(b, p.sent)
	b = binary.BigEndian.AppendUint64(b, p.heardRun)
	b = binary.BigEndian.AppendUint32(b, p.heard)
	b = binary.BigEndian.AppendUint64(b, p.heardSent)
	b = binary.BigEndian.AppendUint32(b, p.held)
	b = binary.BigEndian.AppendUint64(b, p.seen)
	b = binary.BigEndian.AppendUint16(b, p.largest)
	b = append(b, authenticate(key, b)...)
	return b[:max(size, packetSize)]
}

func authenticate(key, body []byte) []byte {
	mac := hmac.New(sha256.New, key)
	mac.Write(body)
	return mac.Sum(nil)[:macSize]
}

// ends returns who claims to have sent a packet to whom, and whether it has the form of one.
func ends(b []byte) (from, to nodeID, ok bool) {
	if len(b) < packetSize || binary.BigEndian.Uint32(b) != magic || b[4] != layoutVersion || b[5]&^0x80 > byte(Mesh) {
		return from, to, false
	}
	return nodeID(b[8:16]), nodeID(b[16:24]), true
}

// unseal returns a packet of the right form, and whether somebody with the key made it.
func unseal(key, b []byte) (packet, bool) {
	if !hmac.Equal(authenticate(key, b[:bodySize]), b[bodySize:packetSize]) {
		return packet{}, false
	}
	return packet{
		path: Path(b[5] &^ 0x80), large: b[5]&0x80 != 0,
		interval: time.Duration(binary.BigEndian.Uint16(b[6:])) * time.Millisecond,
		from:     nodeID(b[8:16]), to: nodeID(b[16:24]),
		run: binary.BigEndian.Uint64(b[24:]), number: binary.BigEndian.Uint32(b[32:]), sent: binary.BigEndian.Uint64(b[36:]),
		heardRun: binary.BigEndian.Uint64(b[44:]), heard: binary.BigEndian.Uint32(b[52:]), heardSent: binary.BigEndian.Uint64(b[56:]),
		held: binary.BigEndian.Uint32(b[64:]), seen: binary.BigEndian.Uint64(b[68:]), largest: binary.BigEndian.Uint16(b[76:]),
	}, true
}
