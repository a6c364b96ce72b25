package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"net/netip"
	"os"
	"strconv"
	"strings"
	"time"

	"golang.org/x/sync/errgroup"
	"golang.org/x/sys/unix"
)

// meshStreamPort is where a stream is received.
const meshStreamPort = 9656

// meshSpeed is what one TCP stream carried.
type meshSpeed struct {
	// Gigabits are a second's.
	Gigabits float64 `json:"gbit_per_second"`
	// CPU is the seconds for a gigabit, of both machines with everything on them and of the programs that send and receive.
	CPU float64 `json:"cpu_seconds_per_gigabit"`
}

// stream sends as much as it can for a time.
func meshStream(ctx context.Context, a, b meshHost, to netip.Addr, d time.Duration) (meshSpeed, error) {
	address := netip.AddrPortFrom(to, meshStreamPort).String()
	listener, err := b.space.Listen(ctx, "tcp4", address)
	if err != nil {
		return meshSpeed{}, err
	}
	stop := context.AfterFunc(ctx, func() { _ = listener.Close() })
	defer stop()
	before, err := meshCPU(a, b)
	if err != nil {
		return meshSpeed{}, err
	}
	from := time.Now()
	var arrived int64
	var both errgroup.Group
	both.Go(func() error {
		defer func() { _ = listener.Close() }()
		conn, err := listener.Accept()
		if err != nil {
			return ignoring(err, net.ErrClosed) // the other end says why
		}
		defer func() { _ = conn.Close() }()
		// In pieces, so that nothing is spliced past the counting.
		buffer := make([]byte, 1<<20)
		for {
			n, err := conn.Read(buffer)
			arrived += int64(n)
			if err != nil {
				return ignoring(err, io.EOF)
			}
		}
	})
	both.Go(func() error {
		conn, err := a.space.Connect(ctx, "tcp4", address)
		if err != nil {
			return errors.Join(err, listener.Close())
		}
		return sendFor(ctx, conn, d)
	})
	if err := both.Wait(); err != nil {
		return meshSpeed{}, fmt.Errorf("stream from %s to %s: %w", a.name, to, err)
	}
	took := time.Since(from)
	after, err := meshCPU(a, b)
	if err != nil {
		return meshSpeed{}, err
	}
	gigabits := float64(arrived) * 8 / 1e9
	return meshSpeed{Gigabits: gigabits / took.Seconds(), CPU: (after - before).Seconds() / gigabits}, ctx.Err()
}

func ignoring(err, what error) error {
	if errors.Is(err, what) {
		return nil
	}
	return err
}

func sendFor(ctx context.Context, conn net.Conn, d time.Duration) error {
	defer func() { _ = conn.Close() }()
	stop := context.AfterFunc(ctx, func() { _ = conn.SetDeadline(time.Unix(1, 0)) })
	defer stop()
	if err := conn.SetDeadline(time.Now().Add(d)); err != nil {
		return err
	}
	for piece := make([]byte, 1<<20); ; {
		if _, err := conn.Write(piece); err != nil {
			return ignoring(err, os.ErrDeadlineExceeded)
		}
	}
}

// meshCPU is what two machines have used, and this program, which sends and receives.
func meshCPU(hosts ...meshHost) (time.Duration, error) {
	var own unix.Rusage
	if err := unix.Getrusage(unix.RUSAGE_SELF, &own); err != nil {
		return 0, os.NewSyscallError("getrusage", err)
	}
	total := time.Duration(own.Utime.Nano() + own.Stime.Nano())
	for _, h := range hosts {
		u, err := h.usage()
		if err != nil {
			return 0, err
		}
		total += u.CPU
	}
	return total, nil
}

// meshCounters returns how many bytes a host has received from the network and sent to it.
func meshCounters(ctx context.Context, h meshHost) (received, sent int64, err error) {
	out, err := h.run(ctx, "cat", "/proc/net/dev")
	if err != nil {
		return 0, 0, err
	}
	for line := range strings.Lines(out) {
		name, numbers, ok := strings.Cut(strings.TrimSpace(line), ":")
		fields := strings.Fields(numbers)
		if !ok || name != "eth0" || len(fields) < 9 {
			continue
		}
		if received, err = strconv.ParseInt(fields[0], 10, 64); err != nil {
			return 0, 0, err
		}
		sent, err = strconv.ParseInt(fields[8], 10, 64)
		return received, sent, err
	}
	return 0, 0, fmt.Errorf("%s has no cable: %s", h.name, out)
}
