package probe

import (
	"errors"
	"fmt"
	"net"
	"net/netip"

	"golang.org/x/net/bpf"
	"golang.org/x/net/ipv4"
	"golang.org/x/net/ipv6"
)

// sockets are what packets leave and arrive by. Those of IPv6 are nil on a machine without it.
type sockets struct {
	in4, in6   *net.IPConn
	out4, out6 *net.UDPConn
}

// openSockets opens them in the network namespace of the calling thread. It needs CAP_NET_RAW.
func openSockets(port int) (*sockets, error) {
	var s sockets
	var err error
	if s.in4, err = listen("ip4:udp", "0.0.0.0"); err == nil {
		if err = ipv4.NewPacketConn(s.in4).SetBPF(filter(port, true)); err == nil {
			s.out4, err = sender("udp4")
		}
	}
	if err != nil {
		return nil, errors.Join(fmt.Errorf("open the sockets for probes: %w", err), s.close())
	}
	if s.in6, err = listen("ip6:udp", "::"); err == nil {
		if err = ipv6.NewPacketConn(s.in6).SetBPF(filter(port, false)); err == nil {
			s.out6, err = sender("udp6")
		}
		if err != nil {
			err = errors.Join(fmt.Errorf("open the sockets for probes over IPv6: %w", err), s.close())
			return nil, err
		}
	} else {
		s.in6 = nil
	}
	return &s, nil
}

func listen(network, address string) (*net.IPConn, error) {
	return net.ListenIP(network, &net.IPAddr{IP: net.ParseIP(address)})
}

func sender(network string) (*net.UDPConn, error) {
	c, err := net.ListenUDP(network, nil)
	if err != nil {
		return nil, err
	}
	if err := dontFragment(c, network == "udp6"); err != nil {
		return nil, errors.Join(fmt.Errorf("forbid fragments: %w", err), c.Close())
	}
	return c, nil
}

// filter keeps everything but probes from waking this process: a raw socket would get a copy of all UDP of the machine. The kernel
// shows the filter a packet of IPv4 from its IP header on, one of IPv6 from its UDP header on.
func filter(port int, four bool) []bpf.RawInstruction {
	var load []bpf.Instruction
	if four {
		load = append(load, bpf.LoadMemShift{Off: 0})
	} else {
		load = append(load, bpf.LoadConstant{Dst: bpf.RegX, Val: 0})
	}
	raw, err := bpf.Assemble(append(load,
		bpf.LoadIndirect{Off: 2, Size: 2},
		bpf.JumpIf{Cond: bpf.JumpEqual, Val: uint32(port), SkipFalse: 3}, //nolint:gosec // a port has 16 bits
		bpf.LoadIndirect{Off: udpHeader, Size: 4},
		bpf.JumpIf{Cond: bpf.JumpEqual, Val: magic, SkipFalse: 1},
		bpf.RetConstant{Val: 1 << 16},
		bpf.RetConstant{Val: 0},
	))
	if err != nil {
		return []bpf.RawInstruction{{Op: 0x6}} // returns 0: nothing passes
	}
	return raw
}

// send sends one packet. Size is that of the whole packet with its IP header.
func (s *sockets) send(to netip.AddrPort, p packet, key []byte, size int) error {
	header := udpHeader + ipHeader(to.Addr())
	out := s.out4
	if to.Addr().Is6() {
		out = s.out6
	}
	if out == nil {
		return errors.New("this machine has no IPv6")
	}
	_, err := out.WriteToUDPAddrPort(p.seal(key, size-header), to)
	return err
}

func ipHeader(a netip.Addr) int {
	if a.Is6() {
		return 40
	}
	return 20
}

func (s *sockets) close() error {
	var errs []error
	for _, c := range []*net.IPConn{s.in4, s.in6} {
		if c != nil {
			errs = append(errs, c.Close())
		}
	}
	for _, c := range []*net.UDPConn{s.out4, s.out6} {
		if c != nil {
			errs = append(errs, c.Close())
		}
	}
	return errors.Join(errs...)
}
