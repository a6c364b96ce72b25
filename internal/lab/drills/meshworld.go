//go:build linux

package drills

import (
	"context"
	"errors"
	"fmt"
	"net"
	"net/http"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"sync"
	"time"

	"github.com/atollhq/terraform-provider-atoll/internal/api"
	"github.com/atollhq/terraform-provider-atoll/internal/spec"
)

// meshWorldDrills are what may be peculiar about the network that a whole cluster lives in.
func meshWorldDrills() []Drill {
	many := manyCluster()
	return slices.Concat(meshIPv6(), meshBehindNAT(), []Drill{
		long(meshTwentyNodes(many, "mesh/twenty-nodes", 2*time.Minute)),
		long(meshTwentyNodes(many, "mesh/twenty-nodes-ten-minutes", 10*time.Minute)),
	})
}

// said is one line of an agent's journal.
type said struct {
	node string
	at   time.Time
	line string
}

// The lines of an agent's journal that tell of what must not happen, and of how often links change. Every agent that has met another one
// has said saysAlive: where that is missing a journal was not read.
var (
	saysAlive   = regexp.MustCompile(`msg="gossip peer changed" .*peer=(\S+) alive=true`)
	saysDead    = regexp.MustCompile(`msg="gossip peer changed" .*peer=(\S+) alive=false`)
	saysUnready = regexp.MustCompile(`msg="condition changed" .*condition=(MeshReady|GossipReady) status=False`)
	saysUnfit   = regexp.MustCompile(`msg="fitness to serve changed" .*fit=false`)
	saysRemoved = regexp.MustCompile(`msg="condition changed" .*condition=EdgeReady .*reason=Removed`)
	saysAway    = regexp.MustCompile(`msg="the direct link is left, its traffic goes by another node" .*peer=(\S+)`)
	saysBack    = regexp.MustCompile(`msg="the direct link is in use again" .*peer=(\S+)`)
)

// since returns the lines that were said from a moment on.
func since(lines []said, moment time.Time) []said {
	var out []said
	for _, l := range lines {
		if !l.at.Before(moment) {
			out = append(out, l)
		}
	}
	return out
}

// journals returns everything that the agents of nodes have said, in its order.
func journals(ctx context.Context, f *Field, nodes []string) ([]said, error) {
	type answer struct {
		lines []said
		err   error
	}
	answers := make(chan answer, len(nodes))
	for _, n := range nodes {
		go func() {
			lines, err := journal(ctx, f, n)
			answers <- answer{lines, err}
		}()
	}
	var all []said
	var errs []error
	for range nodes {
		a := <-answers
		all, errs = append(all, a.lines...), append(errs, a.err)
	}
	slices.SortFunc(all, func(a, b said) int { return a.at.Compare(b.at) })
	return all, errors.Join(errs...)
}

func journal(ctx context.Context, f *Field, node string) ([]said, error) {
	out, err := f.Exec(ctx, node, "journalctl", "--unit=atolld", "--no-pager", "--quiet", "--output=short-unix")
	if err != nil {
		return nil, err
	}
	lines := readJournal(node, string(out))
	if len(matching(lines, saysAlive)) == 0 {
		return nil, fmt.Errorf("the journal of %s tells of no other node: %.300q", node, out)
	}
	return lines, nil
}

// readJournal reads what journalctl prints with seconds since 1970.
func readJournal(node, text string) []said {
	var lines []said
	for line := range strings.Lines(text) {
		stamp, rest, _ := strings.Cut(strings.TrimSpace(line), " ")
		at, err := strconv.ParseFloat(stamp, 64)
		if err != nil {
			continue // the rest of a message of several lines
		}
		lines = append(lines, said{node, time.UnixMicro(int64(at * 1e6)), rest})
	}
	return lines
}

// matching returns the lines that an expression fits.
func matching(lines []said, what *regexp.Regexp) []said {
	var out []said
	for _, l := range lines {
		if what.MatchString(l.line) {
			out = append(out, l)
		}
	}
	return out
}

// examples shows the first of some lines, for people.
func examples(lines []said) string {
	var parts []string
	for _, l := range lines[:min(3, len(lines))] {
		_, text, _ := strings.Cut(l.line, "msg=")
		parts = append(parts, fmt.Sprintf("%s at %s: %s", l.node, l.at.Format(time.TimeOnly), text))
	}
	return strings.Join(parts, "; ")
}

// monitors ask every node on the node itself, as often as they can afford, whether it serves: no path between them and the node can be
// bad. A drill has one value of it.
type monitors struct {
	nodes    []string
	hostname string

	stop context.CancelFunc
	done sync.WaitGroup

	mu      sync.Mutex
	asked   int
	refused []said
	last    time.Time
}

// askEvery is how often a monitor asks its node.
const askEvery = time.Second

var _ Traffic = (*monitors)(nil)

// begin is a drill's Traffic.
func (m *monitors) begin(ctx context.Context, f *Field) (Traffic, error) {
	// They go on until Stop.
	ctx, m.stop = context.WithCancel(context.WithoutCancel(ctx))
	m.asked, m.refused, m.last = 0, nil, time.Now()
	for _, n := range m.nodes {
		space, err := f.Network().Namespace(n)
		if err != nil {
			m.stop()
			return nil, err
		}
		client := &http.Client{Timeout: 10 * time.Second, Transport: &http.Transport{
			DialContext: func(ctx context.Context, network, address string) (net.Conn, error) {
				return space.Connect(ctx, network, address)
			},
		}}
		m.done.Go(func() { m.ask(ctx, n, client) })
	}
	return m, nil
}

func (m *monitors) ask(ctx context.Context, node string, client *http.Client) {
	defer client.CloseIdleConnections()
	url := "http://" + net.JoinHostPort("127.0.0.1", strconv.Itoa(spec.DefaultPorts().Health)) + api.HealthPath + "/" + m.hostname
	tick := time.NewTicker(askEvery)
	defer tick.Stop()
	for {
		status, err := answerOf(ctx, client, url)
		if ctx.Err() != nil {
			return
		}
		m.mu.Lock()
		m.asked++
		if err != nil || status != http.StatusOK {
			m.last = time.Now()
			m.refused = append(m.refused, said{node, m.last, fmt.Sprintf("msg=health %d %v", status, err)})
		}
		m.mu.Unlock()
		select {
		case <-ctx.Done():
			return
		case <-tick.C:
		}
	}
}

func answerOf(ctx context.Context, client *http.Client, url string) (status int, err error) {
	request, err := http.NewRequestWithContext(ctx, http.MethodGet, url, http.NoBody)
	if err != nil {
		return 0, err
	}
	response, err := client.Do(request)
	if err != nil {
		return 0, err
	}
	return response.StatusCode, response.Body.Close()
}

// Calm implements Traffic.
func (m *monitors) Calm() time.Duration {
	m.mu.Lock()
	defer m.mu.Unlock()
	return time.Since(m.last)
}

// Stop implements Traffic.
func (m *monitors) Stop(_ context.Context, fault time.Time) (Seen, error) {
	m.stop()
	m.done.Wait()
	m.mu.Lock()
	defer m.mu.Unlock()
	s := Seen{Asked: m.asked, Failed: len(m.refused), Detail: examples(m.refused)}
	if len(m.refused) > 0 {
		s.Outage = m.last.Sub(fault)
	}
	return s, nil
}
