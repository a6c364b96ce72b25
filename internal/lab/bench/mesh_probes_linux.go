package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net/netip"
	"os"
	"regexp"
	"strconv"
	"syscall"
	"time"

	"github.com/atollhq/terraform-provider-atoll/internal/lab/network"
	"github.com/atollhq/terraform-provider-atoll/internal/probe"
	"github.com/atollhq/terraform-provider-atoll/internal/spec"
)

// probeSizes are the clusters whose probes are measured.
func probeSizes() []int { return []int{3, 10, 20, 50} }

// probeWarm is how long probers run before they are measured: a new one sends large packets at once.
const probeWarm = 10 * time.Second

// benchProbes measures what the probes of each node cost in clusters of several sizes: probers alone, each in a network namespace of
// its own, by the kernel's counters. Probes over the mesh go from namespace to namespace as they are, without what a driver adds.
func benchProbes(ctx context.Context, out io.Writer) error {
	var rows [][]string
	for _, n := range probeSizes() {
		row, err := measureProbes(ctx, n)
		if err != nil {
			return fmt.Errorf("%d nodes: %w", n, err)
		}
		rows = append(rows, row)
	}
	fmt.Fprint(out, "What a node sends to measure its links, on average of all nodes, IP headers included:\n\n")
	printTable(out, []string{"nodes", "packets a second", "bytes a second", "to each other node", "CPU of one core"}, rows)
	return nil
}

// measureProbes runs the probers of a cluster.
func measureProbes(ctx context.Context, nodes int) (row []string, err error) {
	net, err := network.New(ctx, fmt.Sprintf("probes-%d", os.Getpid()), slog.New(slog.DiscardHandler))
	if err != nil {
		return nil, err
	}
	defer func() { err = errors.Join(err, net.Close(context.WithoutCancel(ctx))) }()
	w := &probeWorld{}
	defer func() { err = errors.Join(err, w.close()) }()
	for i := range nodes {
		if err := w.add(ctx, net, fmt.Sprintf("n%02d", i+1), []string{network.SiteColo, network.SiteVPS}[i%2]); err != nil {
			return nil, err
		}
	}
	w.begin()
	// Packets of all sizes go to each other node once in this time.
	window := max(20*time.Second, time.Duration(nodes-1)*2*time.Second)
	wait(ctx, probeWarm)
	before, err := w.count(ctx)
	if err != nil {
		return nil, err
	}
	wait(ctx, window)
	after, err := w.count(ctx)
	if err != nil {
		return nil, err
	}
	if err := ctx.Err(); err != nil {
		return nil, err
	}
	took := after.at.Sub(before.at).Seconds() * float64(nodes)
	packets, bytes := float64(after.packets-before.packets)/took, float64(after.bytes-before.bytes)/took
	return []string{
		strconv.Itoa(nodes), fmt.Sprintf("%.0f", packets), fmt.Sprintf("%.1f kB", bytes/1e3), fmt.Sprintf("%.0f B", bytes/float64(nodes-1)),
		fmt.Sprintf("%.2f %%", 100*(after.cpu-before.cpu).Seconds()/took),
	}, nil
}

func wait(ctx context.Context, d time.Duration) {
	select {
	case <-ctx.Done():
	case <-time.After(d):
	}
}

// probeWorld is a cluster of probers.
type probeWorld struct {
	names   []string
	spaces  []network.Namespace
	at      []netip.Addr
	probers []*probe.Prober
}

// probeCount is what all probers together have sent, and the processor time of this process.
type probeCount struct {
	at             time.Time
	packets, bytes uint64
	cpu            time.Duration
}

// probeCounter counts what leaves for the port of the mesh. Nothing else in the namespace sends anything.
const probeCounter = `add table inet bench
add chain inet bench output { type filter hook output priority 0; }
add rule inet bench output udp dport %d counter
`

func (w *probeWorld) add(ctx context.Context, net *network.Network, name, site string) error {
	addresses, err := net.Reserve(name, site)
	if err != nil {
		return err
	}
	space, err := net.Plug(ctx, name)
	if err != nil {
		return err
	}
	port := spec.DefaultMesh().Port
	cmd := space.Command(ctx, "nft", fmt.Sprintf(probeCounter, port))
	if out, err := cmd.CombinedOutput(); err != nil {
		return fmt.Errorf("count the packets of %s: %w: %s", name, err, out)
	}
	var p *probe.Prober
	err = space.Do(func() error {
		p, err = probe.Open(probe.Options{Cluster: "bench", Node: name, Port: port}, slog.New(slog.DiscardHandler))
		return err
	})
	if err != nil {
		return err
	}
	w.names, w.spaces, w.at, w.probers = append(w.names, name), append(w.spaces, space), append(w.at, addresses.IPv4), append(w.probers, p)
	return nil
}

// begin makes everybody measure everybody.
func (w *probeWorld) begin() {
	for i, p := range w.probers {
		peers := map[string]probe.Peer{}
		for j, name := range w.names {
			if i != j {
				peers[name] = probe.Peer{Mesh: w.at[j], Public: []netip.Addr{w.at[j]}}
			}
		}
		p.SetPeers(peers)
	}
}

var counted = regexp.MustCompile(`counter packets (\d+) bytes (\d+)`)

func (w *probeWorld) count(ctx context.Context) (probeCount, error) {
	var sum probeCount
	for i, space := range w.spaces {
		out, err := space.Command(ctx, "nft", "list", "table", "inet", "bench").Output()
		if err != nil {
			return sum, fmt.Errorf("packets of %s: %w", w.names[i], err)
		}
		m := counted.FindSubmatch(out)
		if m == nil {
			return sum, fmt.Errorf("packets of %s: %s", w.names[i], out)
		}
		packets, err1 := strconv.ParseUint(string(m[1]), 10, 64)
		bytes, err2 := strconv.ParseUint(string(m[2]), 10, 64)
		if err := errors.Join(err1, err2); err != nil {
			return sum, err
		}
		sum.packets, sum.bytes = sum.packets+packets, sum.bytes+bytes
	}
	var usage syscall.Rusage
	if err := syscall.Getrusage(syscall.RUSAGE_SELF, &usage); err != nil {
		return sum, err
	}
	sum.cpu, sum.at = time.Duration(usage.Utime.Nano()+usage.Stime.Nano()), time.Now()
	return sum, nil
}

func (w *probeWorld) close() error {
	var errs []error
	for _, p := range w.probers {
		errs = append(errs, p.Close())
	}
	return errors.Join(errs...)
}
