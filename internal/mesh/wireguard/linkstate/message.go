package linkstate

import (
	"encoding/binary"
	"errors"
	"net/netip"
)

// Wire form, big endian. Every message: magic (2 bytes), version (1), type (1).
//
//	hello:   session (4), seq (4), digest (8)
//	more:    nothing; older programs ignore it
//	adverts: any number of: origin (4), version (8), links (1), and for each link: from (4), cost (2)
const (
	magic       = 0xA701
	wireVersion = 1
	typeHello   = 1
	typeAdverts = 2
	typeMore    = 3
	headerSize  = 4
	helloSize   = headerSize + 16
	// maxMessage fits the smallest path that IPv6 allows, inside the tunnel.
	maxMessage = 1100
	maxLinks   = 255
)

// errForeign is what Parse returns for a message that this version does not know.
var errForeign = errors.New("not a message of this version")

// Hello is what every node says to every other all the time.
type Hello struct {
	Session, Seq uint32
	// Digest is of the sender's table.
	Digest uint64
}

// Message is one of them.
type Message struct {
	Hello   *Hello
	Adverts []Advert
	// More asks for a volley.
	More bool
}

func header(kind byte) []byte {
	return append(binary.BigEndian.AppendUint16(nil, magic), wireVersion, kind)
}

// Encode returns the message.
func (h Hello) Encode() []byte {
	b := binary.BigEndian.AppendUint32(header(typeHello), h.Session)
	b = binary.BigEndian.AppendUint32(b, h.Seq)
	return binary.BigEndian.AppendUint64(b, h.Digest)
}

// EncodeMore returns the message that asks for a volley.
func EncodeMore() []byte { return header(typeMore) }

// EncodeAdverts returns as many messages as it takes.
func EncodeAdverts(adverts []Advert) [][]byte {
	var out [][]byte
	b := header(typeAdverts)
	for _, a := range adverts {
		links := a.Links[:min(len(a.Links), maxLinks)]
		if len(b) > headerSize && len(b)+13+6*len(links) > maxMessage {
			out = append(out, b)
			b = header(typeAdverts)
		}
		b = append(b, a.Origin.AsSlice()...)
		b = binary.BigEndian.AppendUint64(b, a.Version)
		b = append(b, byte(len(links)))
		for _, l := range links {
			b = append(b, l.From.AsSlice()...)
			b = binary.BigEndian.AppendUint16(b, l.Cost)
		}
	}
	if len(b) > headerSize {
		out = append(out, b)
	}
	return out
}

// Parse reads a message.
func Parse(b []byte) (Message, error) {
	if len(b) < headerSize || binary.BigEndian.Uint16(b) != magic || b[2] != wireVersion {
		return Message{}, errForeign
	}
	kind, b := b[3], b[headerSize:]
	switch {
	case kind == typeHello && len(b) == helloSize-headerSize:
		return Message{Hello: &Hello{binary.BigEndian.Uint32(b), binary.BigEndian.Uint32(b[4:]), binary.BigEndian.Uint64(b[8:])}}, nil
	case kind == typeMore && len(b) == 0:
		return Message{More: true}, nil
	case kind == typeAdverts:
		adverts, err := parseAdverts(b)
		return Message{Adverts: adverts}, err
	default:
		return Message{}, errForeign
	}
}

func parseAdverts(b []byte) ([]Advert, error) {
	var out []Advert
	for len(b) > 0 {
		if len(b) < 13 {
			return nil, errForeign
		}
		a := Advert{Origin: netip.AddrFrom4([4]byte(b)), Version: binary.BigEndian.Uint64(b[4:])}
		count := int(b[12])
		if b = b[13:]; len(b) < 6*count {
			return nil, errForeign
		}
		for range count {
			l := Link{netip.AddrFrom4([4]byte(b)), binary.BigEndian.Uint16(b[4:])}
			if len(a.Links) > 0 && !a.Links[len(a.Links)-1].From.Less(l.From) {
				return nil, errForeign // unsorted, which lookups rely on
			}
			a.Links, b = append(a.Links, l), b[6:]
		}
		out = append(out, a)
	}
	return out, nil
}
