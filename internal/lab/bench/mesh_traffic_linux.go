package main

import (
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"net"
	"net/netip"
	"sync"
	"time"
)

const (
	// meshEvery is the time between two packets of a flow in one direction, of meshPacket bytes each.
	meshEvery  = 20 * time.Millisecond
	meshPacket = 100
	// meshPort is where the programs of a flow listen, on both ends.
	meshPort = 9655
	// meshAnswer is how long an answer counts: what comes later does not help whoever waits for it.
	meshAnswer = 2 * time.Second
)

// The kinds of packets of a flow.
const (
	meshQuestion = 'q'
	meshReply    = 'r'
)

// meshFlow is small numbered packets in both directions between two hosts, each of which is answered.
type meshFlow struct {
	ends [2]*net.UDPConn
	to   [2]netip.AddrPort
	stop context.CancelFunc
	done sync.WaitGroup

	mu sync.Mutex
	// sent, arrived and answered are of the packets from one end and the other, by number.
	sent, arrived, answered [2][]time.Time
}

// startMeshFlow begins to send. Close ends it.
func startMeshFlow(ctx context.Context, a, b meshHost) (*meshFlow, error) {
	f := &meshFlow{}
	for i, h := range []meshHost{a, b} {
		err := h.space.Do(func() (err error) {
			f.ends[i], err = net.ListenUDP("udp4", net.UDPAddrFromAddrPort(netip.AddrPortFrom(h.mesh, meshPort)))
			return err
		})
		if err != nil {
			if i > 0 {
				err = errors.Join(err, f.ends[0].Close())
			}
			return nil, fmt.Errorf("traffic of %s: %w", h.name, err)
		}
		f.to[1-i] = netip.AddrPortFrom(h.mesh, meshPort)
	}
	ctx, f.stop = context.WithCancel(ctx)
	for i := range f.ends {
		f.done.Go(func() { f.receive(i) })
		f.done.Go(func() { f.send(ctx, i) })
	}
	return f, nil
}

// Close ends the flow, and waits for the answers that are on their way.
func (f *meshFlow) Close() error {
	f.stop()
	err := errors.Join(f.ends[0].Close(), f.ends[1].Close())
	f.done.Wait()
	return err
}

func (f *meshFlow) send(ctx context.Context, from int) {
	tick := time.NewTicker(meshEvery)
	defer tick.Stop()
	for {
		select {
		case <-ctx.Done():
			return
		case <-tick.C:
		}
		packet := make([]byte, meshPacket)
		packet[0] = meshQuestion
		f.mu.Lock()
		binary.BigEndian.PutUint64(packet[1:], uint64(len(f.sent[from])))
		f.sent[from] = append(f.sent[from], time.Now())
		f.arrived[from] = append(f.arrived[from], time.Time{})
		f.answered[from] = append(f.answered[from], time.Time{})
		f.mu.Unlock()
		// One that cannot be sent is one that does not arrive.
		_, _ = f.ends[from].WriteToUDPAddrPort(packet, f.to[from])
	}
}

func (f *meshFlow) receive(at int) {
	buffer := make([]byte, 2*meshPacket)
	for {
		n, _, err := f.ends[at].ReadFromUDPAddrPort(buffer)
		now := time.Now()
		if errors.Is(err, net.ErrClosed) {
			return
		}
		if err != nil || n != meshPacket {
			continue // a message that the way is lost; the packets say so themselves
		}
		number := binary.BigEndian.Uint64(buffer[1:])
		f.mu.Lock()
		switch other := 1 - at; buffer[0] {
		case meshQuestion:
			if number < uint64(len(f.arrived[other])) && f.arrived[other][number].IsZero() {
				f.arrived[other][number] = now
			}
		case meshReply:
			if number < uint64(len(f.answered[at])) && f.answered[at][number].IsZero() {
				f.answered[at][number] = now
			}
		}
		f.mu.Unlock()
		if buffer[0] == meshQuestion {
			buffer[0] = meshReply
			_, _ = f.ends[at].WriteToUDPAddrPort(buffer[:meshPacket], f.to[at])
		}
	}
}

// meshShare is what came of packets that were sent within a time.
type meshShare struct{ sent, arrived int }

func (s meshShare) value() float64 { return float64(s.arrived) / float64(max(1, s.sent)) }

func (s *meshShare) add(sent time.Time, seen time.Time) {
	s.sent++
	if !seen.IsZero() && seen.Sub(sent) < meshAnswer {
		s.arrived++
	}
}

// shares returns what of the packets that were sent from one time to another has arrived, from each end, and what of both ends' was answered.
func (f *meshFlow) shares(from, until time.Time) (oneWay [2]meshShare, echoes meshShare) {
	f.mu.Lock()
	defer f.mu.Unlock()
	for end := range f.sent {
		for i, at := range f.sent[end] {
			if !at.Before(from) && at.Before(until) {
				oneWay[end].add(at, f.arrived[end][i])
				echoes.add(at, f.answered[end][i])
			}
		}
	}
	return oneWay, echoes
}

// gap returns the longest time between two answers to the same end since then, and how long ago the last one to each end came.
func (f *meshFlow) gap(from time.Time) (longest time.Duration, quiet [2]time.Duration) {
	f.mu.Lock()
	defer f.mu.Unlock()
	now := time.Now()
	for end := range f.answered {
		last := from
		for i, at := range f.answered[end] {
			if at.After(last) && at.Sub(f.sent[end][i]) < meshAnswer {
				longest, last = max(longest, at.Sub(last)), at
			}
		}
		quiet[end] = now.Sub(last)
		longest = max(longest, quiet[end])
	}
	return longest, quiet
}
