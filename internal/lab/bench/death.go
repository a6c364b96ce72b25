package main

import (
	"bufio"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"net/netip"
	"os"
	"os/exec"
	"time"

	"github.com/hashicorp/memberlist"

	"github.com/atollhq/terraform-provider-atoll/internal/gossip"
	"github.com/atollhq/terraform-provider-atoll/internal/spec"
	"github.com/atollhq/terraform-provider-atoll/internal/store"
	"github.com/atollhq/terraform-provider-atoll/internal/trust"
)

// The death benchmark: so many nodes, and so many deaths with each kind of timers.
const (
	deathNodes = 5
	deathRuns  = 5
	deathPort  = 17946
	deathWait  = time.Minute
)

// kinds of gossip that the benchmark compares.
const (
	gossipAtoll = "atoll"
	gossipLAN   = "memberlist's LAN defaults"
)

// member is one process of the benchmark: what it is to do, on its standard input.
type member struct {
	Kind    string
	Self    int
	Records []store.Record
	Root    trust.Root
}

func memberName(i int) string         { return fmt.Sprintf("n%d", i) }
func memberAddr(i int) netip.Addr     { return netip.AddrFrom4([4]byte{127, 67, 0, byte(i + 1)}) }
func memberPort(i int) netip.AddrPort { return netip.AddrPortFrom(memberAddr(i), deathPort) }

// benchDeath kills one of five processes that gossip over the loopback network, with Atoll's timers and with those of
// memberlist in turns, and measures until all others know.
func benchDeath(ctx context.Context, out io.Writer) error {
	root, records, err := deathRecords()
	if err != nil {
		return err
	}
	kinds := []string{gossipAtoll, gossipLAN}
	samples := map[string]sample{}
	for range deathRuns {
		for _, kind := range kinds {
			took, err := death(ctx, kind, root, records)
			if err != nil {
				return fmt.Errorf("%s: %w", kind, err)
			}
			samples[kind] = append(samples[kind], took)
		}
	}
	fmt.Fprintf(out, "Death of one of %d nodes (kill -9, loopback), until all others know:\n\n", deathNodes)
	var rows [][]string
	for _, kind := range kinds {
		rows = append(rows, append(append([]string{kind}, samples[kind].cells()...), ratio(samples[kind], samples[gossipAtoll])))
	}
	printTable(out, append(append([]string{"gossip"}, sampleColumns...), "ratio"), rows)
	return nil
}

// deathRecords makes a cluster whose nodes are members, as gossip lets in nobody else.
func deathRecords() (root trust.Root, records []store.Record, err error) {
	key, err := trust.NewSigningKey()
	if err != nil {
		return root, nil, err
	}
	root = trust.Root{Cluster: "bench", Key: key.Public()}
	for i := range deathNodes {
		ticket, err := trust.IssueTicket(key, trust.TicketRequest{Cluster: root.Cluster, Node: memberName(i), Lifetime: time.Hour, Now: time.Now()})
		if err != nil {
			return root, nil, err
		}
		id, err := trust.NewIdentity()
		if err != nil {
			return root, nil, err
		}
		proof, err := trust.MakeProof(ticket.Envelope, ticket.Key, id, trust.Claim{
			MeshKeys: map[spec.MeshDriver]string{spec.MeshTinc: "a key that no mesh will see"}, Made: time.Now(),
		})
		if err != nil {
			return root, nil, err
		}
		records = append(records, store.ProofRecord(proof))
	}
	return root, records, nil
}

// death starts the processes, kills the last one when all see all, and returns when each of the others has noticed.
func death(ctx context.Context, kind string, root trust.Root, records []store.Record) (time.Duration, error) {
	ctx, cancel := context.WithTimeout(ctx, 2*deathWait)
	defer cancel()
	counts := make(chan count, 100)
	var processes []*exec.Cmd
	defer func() {
		cancel()
		for _, p := range processes {
			_ = p.Wait() // it was killed
		}
	}()
	for i := range deathNodes {
		p, err := startMember(ctx, member{Kind: kind, Self: i, Root: root, Records: records}, counts)
		if err != nil {
			return 0, err
		}
		processes = append(processes, p)
	}
	if err := awaitCounts(ctx, counts, deathNodes, deathNodes); err != nil {
		return 0, err
	}
	killed := time.Now()
	if err := processes[deathNodes-1].Process.Kill(); err != nil {
		return 0, err
	}
	err := awaitCounts(ctx, counts, deathNodes-1, deathNodes-1)
	return time.Since(killed), err
}

// count is how many nodes, itself included, a member believes to be alive.
type count struct {
	Member int
	Alive  int
}

// awaitCounts waits until the first members each count so many.
func awaitCounts(ctx context.Context, counts <-chan count, members, want int) error {
	good := map[int]bool{}
	for {
		select {
		case c := <-counts:
			good[c.Member] = c.Alive == want
		case <-ctx.Done():
			return fmt.Errorf("not everybody counts %d: %w", want, ctx.Err())
		}
		all := 0
		for m, ok := range good {
			if ok && m < members {
				all++
			}
		}
		if all == members {
			return nil
		}
	}
}

func startMember(ctx context.Context, m member, counts chan<- count) (*exec.Cmd, error) {
	self, err := os.Executable()
	if err != nil {
		return nil, err
	}
	p := exec.CommandContext(ctx, self, "member")
	stdin, err := p.StdinPipe()
	if err != nil {
		return nil, err
	}
	stdout, err := p.StdoutPipe()
	if err != nil {
		return nil, err
	}
	p.Stderr = os.Stderr
	if err := p.Start(); err != nil {
		return nil, err
	}
	go func() {
		lines := bufio.NewScanner(stdout)
		for lines.Scan() {
			c := count{Member: m.Self}
			if _, err := fmt.Sscan(lines.Text(), &c.Alive); err == nil {
				select {
				case counts <- c:
				case <-ctx.Done():
				}
			}
		}
	}()
	return p, json.NewEncoder(stdin).Encode(m)
}

// runMember is one process of the benchmark. It prints how many nodes it believes to be alive whenever that changes.
func runMember(ctx context.Context, _ io.Writer) error {
	var m member
	if err := json.NewDecoder(os.Stdin).Decode(&m); err != nil {
		return err
	}
	if m.Kind == gossipLAN {
		return m.runLAN(ctx)
	}
	st := store.New(m.Root, store.Options{})
	st.Merge(m.Records)
	var peers []netip.AddrPort
	for i := range deathNodes {
		if i != m.Self {
			peers = append(peers, memberPort(i))
		}
	}
	g, err := gossip.Start(gossip.Config{
		Node: memberName(m.Self), Bind: memberAddr(m.Self), Port: deathPort, Store: st,
		Peers: func() []netip.AddrPort { return peers },
	})
	if err != nil {
		return err
	}
	return printCounts(ctx, func() int {
		alive := 0
		for _, l := range g.Alive() {
			if l.Alive {
				alive++
			}
		}
		return alive
	})
}

// printCounts prints a count whenever it changes, until ctx ends.
func printCounts(ctx context.Context, alive func() int) error {
	tick := time.NewTicker(5 * time.Millisecond)
	defer tick.Stop()
	for printed := 0; ; {
		if now := alive(); now != printed {
			printed = now
			fmt.Println(now)
		}
		select {
		case <-tick.C:
		case <-ctx.Done():
			return ctx.Err()
		}
	}
}

func (m member) runLAN(ctx context.Context) error {
	c := memberlist.DefaultLANConfig()
	c.Name = memberName(m.Self)
	c.BindAddr, c.BindPort = memberAddr(m.Self).String(), deathPort
	c.AdvertiseAddr, c.AdvertisePort = c.BindAddr, c.BindPort
	c.LogOutput = io.Discard
	list, err := memberlist.Create(c)
	if err != nil {
		return err
	}
	return printCounts(ctx, func() int {
		alive := list.NumMembers()
		if alive == 1 && m.Self != 0 {
			_, _ = list.Join([]string{memberPort(0).String()}) // it is tried again
		}
		return alive
	})
}
