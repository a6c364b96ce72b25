package gossip

import (
	"context"
	"encoding/json"
	"fmt"
	"log/slog"
	"net/netip"
	"time"

	"github.com/hashicorp/memberlist"

	"github.com/atollhq/terraform-provider-atoll/internal/store"
)

const (
	// maxAnnounced is how many changes are announced one by one. More than that at once is left to push and pull.
	maxAnnounced = 100
	// maxMessage is about how large a message over TCP is, in bytes.
	maxMessage = 1 << 20
	// inbox is how many messages may wait. One that finds it full is dropped; the next exchange repairs that.
	inbox = 256
	// askAgain is how long an asked-for record is not asked for once more.
	askAgain = time.Second
)

// message is what agents say to each other in gossip. Records go over TCP only: one with a tinc key is larger than a
// packet. Announcements are small and go by UDP.
type message struct {
	// From is the sender, who is answered at its member's address and nowhere else.
	From string `json:"from"`
	Addr string `json:"addr"`
	// Have announces versions; a state that is exchanged whole sets Whole, and then what is not named is missing.
	Have  store.Digest `json:"have,omitempty"`
	Whole bool         `json:"whole,omitempty"`
	// Want asks for records, Records brings them.
	Want    []store.Key    `json:"want,omitempty"`
	Records []store.Record `json:"records,omitempty"`
}

// spread moves records between stores. It implements memberlist.Delegate.
type spread struct {
	cfg   Config
	log   *slog.Logger
	queue memberlist.TransmitLimitedQueue
	list  *memberlist.Memberlist
	ready chan struct{}
	in    chan message
	asked map[store.Key]time.Time
	out   outbox
}

func newSpread(cfg Config, log *slog.Logger) *spread {
	s := &spread{cfg: cfg, log: log, ready: make(chan struct{}), in: make(chan message, inbox), asked: map[store.Key]time.Time{}}
	s.queue.RetransmitMult = 4
	s.queue.NumNodes = func() int { return len(cfg.Peers()) + 1 }
	return s
}

func (s *spread) attach(list *memberlist.Memberlist) {
	s.list = list
	close(s.ready)
}

// NodeMeta implements memberlist.Delegate.
func (s *spread) NodeMeta(int) []byte { return nil }

// NotifyMsg implements memberlist.Delegate. It must not block.
func (s *spread) NotifyMsg(data []byte) { s.receive(data) }

// GetBroadcasts implements memberlist.Delegate.
func (s *spread) GetBroadcasts(overhead, limit int) [][]byte {
	return s.queue.GetBroadcasts(overhead, limit)
}

// LocalState implements memberlist.Delegate: the digest, from which the other finds what either lacks.
func (s *spread) LocalState(bool) []byte {
	return s.encode(message{Have: s.cfg.Store.Digest(), Whole: true})
}

// MergeRemoteState implements memberlist.Delegate.
func (s *spread) MergeRemoteState(data []byte, _ bool) { s.receive(data) }

func (s *spread) receive(data []byte) {
	var m message
	if err := json.Unmarshal(data, &m); err != nil {
		s.log.Debug("unreadable gossip", "error", err)
		return
	}
	select {
	case s.in <- m:
	default:
		s.log.Debug("gossip dropped, too much at once", "from", m.From)
	}
}

// work answers messages until ctx ends.
func (s *spread) work(ctx context.Context) {
	defer s.out.wait()
	<-s.ready
	for {
		select {
		case <-ctx.Done():
			return
		case m := <-s.in:
			s.handle(ctx, m)
		}
	}
}

func (s *spread) handle(ctx context.Context, m message) {
	if len(m.Records) > 0 {
		for _, o := range s.cfg.Store.MergeRemote(m.Records) {
			delete(s.asked, o.Key)
		}
	}
	to, err := s.member(m)
	if err != nil {
		s.log.Debug("gossip not answered", "to", m.From, "error", err)
		return
	}
	answer := message{}
	if len(m.Want) > 0 {
		answer.Records = s.cfg.Store.Get(m.Want)
	}
	if len(m.Have) > 0 || m.Whole {
		newer, wanted := s.cfg.Store.Newer(m.Have)
		if m.Whole {
			answer.Records = append(answer.Records, newer...)
		}
		answer.Want = s.worthAsking(wanted)
	}
	if len(answer.Records) == 0 && len(answer.Want) == 0 {
		return
	}
	// By address, which is a member's; the name is only what the sender says.
	room := s.out.put(ctx, to.Address(), func() error {
		err := s.send(to, answer)
		if err != nil {
			s.log.Debug("gossip not answered", "to", to.Name, "error", err)
		}
		return err
	})
	if !room {
		s.log.Debug("gossip not answered, too much at once", "to", to.Name)
	}
}

// worthAsking leaves out what was asked for a moment ago: an announcement comes from several nodes.
func (s *spread) worthAsking(wanted []store.Key) []store.Key {
	now := time.Now()
	for k, at := range s.asked {
		if now.Sub(at) > askAgain {
			delete(s.asked, k)
		}
	}
	var out []store.Key
	for _, k := range wanted {
		if _, pending := s.asked[k]; !pending {
			s.asked[k] = now
			out = append(out, k)
		}
	}
	return out
}

// send answers a member over TCP, the records in parts.
func (s *spread) send(to *memberlist.Node, m message) error {
	for {
		part := m
		part.Records = head(m.Records)
		m.Records = m.Records[len(part.Records):]
		m.Want = nil
		if err := s.list.SendReliable(to, s.encode(part)); err != nil {
			return err
		}
		if len(m.Records) == 0 {
			return nil
		}
	}
}

// head returns the first records that fit into one message, at least one of them.
func head(recs []store.Record) []store.Record {
	size := 0
	for i, r := range recs {
		data, err := json.Marshal(r)
		if size += len(data); i > 0 && (err != nil || size > maxMessage) {
			return recs[:i]
		}
	}
	return recs
}

// member returns the member that a message says it is from, if it says so from a member's address.
func (s *spread) member(m message) (*memberlist.Node, error) {
	at, err := netip.ParseAddrPort(m.Addr)
	if err != nil {
		return nil, fmt.Errorf("read the sender's address: %w", err)
	}
	for _, p := range s.cfg.Peers() {
		if p == at {
			return &memberlist.Node{Name: m.From, Addr: at.Addr().AsSlice(), Port: at.Port()}, nil
		}
	}
	return nil, errNotAdmitted
}

func (s *spread) encode(m message) []byte {
	m.From, m.Addr = s.cfg.Node, netip.AddrPortFrom(s.cfg.Bind, uint16(s.cfg.Port)).String()
	data, err := json.Marshal(m)
	if err != nil {
		s.log.Error("gossip cannot be encoded", "error", err)
		return nil
	}
	return data
}

// announce tells of every change of the store until ctx ends.
func (s *spread) announce(ctx context.Context) {
	told := s.cfg.Store.Digest()
	for {
		changed := s.cfg.Store.Changed()
		now := s.cfg.Store.Digest()
		news := store.Digest{}
		for k, v := range now {
			if told[k] != v {
				news[k] = v
			}
		}
		if len(news) <= maxAnnounced {
			for k, v := range news {
				s.queue.QueueBroadcast(announcement{key: k, data: s.encode(message{Have: store.Digest{k: v}})})
			}
		}
		told = now
		select {
		case <-ctx.Done():
			return
		case <-changed:
		}
	}
}

// announcement is one changed record. A newer one of the same key takes its place in the queue.
type announcement struct {
	key  store.Key
	data []byte
}

// Name implements memberlist.NamedBroadcast.
func (a announcement) Name() string { return string(a.key) }

// Invalidates implements memberlist.Broadcast.
func (a announcement) Invalidates(memberlist.Broadcast) bool { return false }

// Message implements memberlist.Broadcast.
func (a announcement) Message() []byte { return a.data }

// Finished implements memberlist.Broadcast.
func (a announcement) Finished() {}
