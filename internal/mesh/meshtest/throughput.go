package meshtest

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
	"testing"
	"time"

	"github.com/jedib0t/go-pretty/v6/table"
	"golang.org/x/sync/errgroup"
)

// Throughput measures what one TCP stream carries from one of two nodes to the other, at their public addresses and over each
// variant's mesh, one after another, and what processor time the mesh's programs on both take for it. It prints a table.
func Throughput(t *testing.T, d time.Duration, variants ...Variant) {
	w := table.NewWriter()
	w.AppendHeader(table.Row{"path", "Gbit/s", "CPU seconds of the mesh per gigabyte"})
	for i, v := range variants {
		c := newCluster(t, v.Driver, v.New, v.Edit, hk, sg)
		c.apply(t, []string{hk, sg})
		c.allConnected(t, hk, sg)
		if i == 0 {
			sent := c.stream(t, d, c.nodes[sg].public)
			w.AppendRow(table.Row{"raw veth", rate(sent, d), "-"})
		}
		before := c.processorTime(t, v.Unit)
		sent := c.stream(t, d, c.nodes[sg].mesh)
		used := c.processorTime(t, v.Unit) - before
		w.AppendRow(table.Row{v.Name, rate(sent, d), fmt.Sprintf("%.1f", used.Seconds()/(float64(sent)/1e9))})
	}
	_, _ = fmt.Fprintln(os.Stdout, w.Render())
}

func rate(sent int64, d time.Duration) string {
	return fmt.Sprintf("%.2f", float64(sent)*8/d.Seconds()/1e9)
}

// stream sends as much as it can for d, and returns how many bytes arrived.
func (c *cluster) stream(t *testing.T, d time.Duration, to netip.Addr) int64 {
	t.Helper()
	const port = 5001
	address := netip.AddrPortFrom(to, port).String()
	listener, err := c.nodes[sg].machine.Listen(t.Context(), address)
	if err != nil {
		t.Fatal(err)
	}
	var arrived int64
	var both errgroup.Group
	both.Go(func() error {
		defer func() { _ = listener.Close() }()
		conn, err := listener.Accept()
		if err != nil {
			return err
		}
		defer func() { _ = conn.Close() }()
		// In pieces, so that nothing is spliced past the counting.
		buffer := make([]byte, 1<<20)
		for {
			n, err := conn.Read(buffer)
			arrived += int64(n)
			if errors.Is(err, io.EOF) {
				return nil
			}
			if err != nil {
				return err
			}
		}
	})
	both.Go(func() error {
		ctx, cancel := context.WithTimeout(t.Context(), 10*time.Second)
		defer cancel()
		conn, err := c.nodes[hk].machine.Dial(ctx, "tcp", address)
		if err != nil {
			return errors.Join(err, listener.Close())
		}
		return sendFor(conn, d)
	})
	if err := both.Wait(); err != nil {
		t.Fatal(err)
	}
	return arrived
}

func sendFor(conn net.Conn, d time.Duration) error {
	defer func() { _ = conn.Close() }()
	piece := make([]byte, 1<<20)
	end := time.Now().Add(d)
	if err := conn.SetDeadline(end); err != nil {
		return err
	}
	for {
		if _, err := conn.Write(piece); errors.Is(err, os.ErrDeadlineExceeded) {
			return nil
		} else if err != nil {
			return err
		}
	}
}

// processorTime returns what the processes of the mesh's unit have used on both nodes.
func (c *cluster) processorTime(t *testing.T, unit string) time.Duration {
	t.Helper()
	var total time.Duration
	for _, n := range c.nodes {
		text, err := os.ReadFile(fmt.Sprintf("/proc/%d/stat", mainPID(t, n, unit)))
		if err != nil {
			t.Fatal(err)
		}
		_, rest, _ := strings.Cut(string(text), ") ")
		fields := strings.Fields(rest)
		for _, ticks := range fields[11:13] { // utime and stime, in hundredths of a second: proc(5)
			n, err := strconv.Atoi(ticks)
			if err != nil {
				t.Fatal(err)
			}
			total += time.Duration(n) * 10 * time.Millisecond
		}
	}
	return total
}
