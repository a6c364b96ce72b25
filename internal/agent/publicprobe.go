package agent

import (
	"context"
	"fmt"
	"net"
	"net/http"
	"strconv"
	"sync"
	"time"

	"github.com/atollhq/terraform-provider-atoll/internal/api"
	"github.com/atollhq/terraform-provider-atoll/internal/mesh"
	"github.com/atollhq/terraform-provider-atoll/internal/spec"
	"github.com/atollhq/terraform-provider-atoll/internal/topology"
)

const (
	// publicInterval is how often a peer's public health endpoint is asked. Two questions in a row must go unanswered before that
	// says anything, so a peer that falls silent is known for it after publicInterval and publicTimeout: the whole removal is to
	// take 3 s. One question is a connection and less than 1 kB.
	publicInterval = 500 * time.Millisecond
	publicTimeout  = time.Second
	publicMisses   = 2
	// meshSilence is how long no probe over the mesh was answered until the mesh counts as silent too, beside a public address
	// that is silent: two probes of the prober. Reachable takes longer, to let the mesh go round a dead link.
	meshSilence = 2 * time.Second
)

// publicProber asks whether peers answer at their public addresses, for as long as it runs. Its zero value asks nobody. It is safe
// for concurrent use.
type publicProber struct {
	mu    sync.Mutex
	peers map[string]*publicPeer
}

// publicPeer is one peer, and what it answered.
type publicPeer struct {
	addresses []string
	missed    int
	answers   bool
	// proven tells that there was an answer at some time, also before a restart: the silence of a peer that could never be asked,
	// as behind a firewall that lets only the vendor in, says nothing.
	proven bool
	// known tells that there was an answer, or enough questions without one, since the start.
	known bool
	// asked and judged number the questions: an old one that was answered late says nothing.
	asked, judged uint64
}

// watch sets whom to ask: every other node of the load balancers whose nodes remove dead ones, or that keep the last ones in
// service. Before is how peers were seen last.
func (p *publicProber) watch(view *topology.View, before map[string]spec.PeerStatus) {
	wanted := map[string][]string{}
	for _, lb := range view.LoadBalancers {
		if lb.Removal == nil && lb.MinimumNodes == 0 {
			continue
		}
		for _, peer := range lb.Peers {
			var addresses []string
			for _, a := range peer.Addresses {
				addresses = append(addresses, net.JoinHostPort(a, strconv.Itoa(peer.HealthPort)))
			}
			wanted[peer.Name] = addresses
		}
	}
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.peers == nil {
		p.peers = map[string]*publicPeer{}
	}
	for name := range p.peers {
		if _, still := wanted[name]; !still {
			delete(p.peers, name)
		}
	}
	for name, addresses := range wanted {
		if p.peers[name] == nil {
			p.peers[name] = &publicPeer{proven: before[name].Public != nil}
		}
		p.peers[name].addresses = addresses
	}
}

// run asks until ctx ends, and calls changed when an answer says something new and while it is about to.
func (p *publicProber) run(ctx context.Context, changed func()) error {
	client := &http.Client{
		Transport:     &http.Transport{DisableKeepAlives: true, DialContext: (&net.Dialer{Timeout: publicTimeout}).DialContext},
		CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse },
	}
	var questions sync.WaitGroup
	defer questions.Wait()
	tick := time.NewTicker(publicInterval)
	defer tick.Stop()
	for {
		p.mu.Lock()
		for _, peer := range p.peers {
			peer.asked++
			number, addresses := peer.asked, peer.addresses
			questions.Go(func() {
				began := time.Now()
				answered := askAny(ctx, client, addresses)
				// Who was not running for a moment, as in a machine that was paused, has missed the answers itself.
				late := !answered && time.Since(began) > publicTimeout+publicInterval
				if ctx.Err() == nil && !late && p.judge(peer, number, answered) {
					changed()
				}
			})
		}
		p.mu.Unlock()
		select {
		case <-ctx.Done():
			return ctx.Err()
		case <-tick.C:
		}
	}
}

// judge takes an answer, or that there was none, and says whether it matters.
func (p *publicProber) judge(peer *publicPeer, number uint64, answered bool) bool {
	p.mu.Lock()
	defer p.mu.Unlock()
	if number < peer.judged {
		return false
	}
	peer.judged = number
	before := *peer
	if answered {
		peer.missed, peer.answers, peer.known, peer.proven = 0, true, true, true
	} else if peer.missed++; peer.missed >= publicMisses {
		peer.answers, peer.known = false, true
	}
	// Whether the mesh is silent as well may show a moment later.
	soon := !peer.answers && time.Duration(peer.missed)*publicInterval <= 3*meshSilence
	return soon || before.answers != peer.answers || before.known != peer.known
}

// status returns how a peer answers, nil when it never did or nobody asks.
func (p *publicProber) status(name string, inMesh mesh.PeerMeasurement) *spec.PublicStatus {
	p.mu.Lock()
	defer p.mu.Unlock()
	peer := p.peers[name]
	if peer == nil || !peer.proven {
		return nil
	}
	if !peer.known {
		return &spec.PublicStatus{}
	}
	silent := !inMesh.Reachable || !inMesh.LastAnswer.IsZero() && time.Since(inMesh.LastAnswer) > meshSilence
	return &spec.PublicStatus{Answers: peer.answers, Dead: !peer.answers && silent}
}

// unanswered tells that a peer that has answered at some time has not answered the last question.
func (p *publicProber) unanswered(name string) bool {
	p.mu.Lock()
	defer p.mu.Unlock()
	peer := p.peers[name]
	return peer != nil && peer.proven && peer.missed > 0
}

// askAny tells whether a node answers at any of its addresses, whatever it says.
func askAny(ctx context.Context, client *http.Client, addresses []string) bool {
	ctx, cancel := context.WithTimeout(ctx, publicTimeout)
	defer cancel()
	answers := make(chan bool, len(addresses))
	for _, address := range addresses {
		go func() { answers <- ask(ctx, client, fmt.Sprintf("http://%s%s", address, api.HealthPath)) }()
	}
	for range addresses {
		if <-answers {
			return true
		}
	}
	return false
}

func ask(ctx context.Context, client *http.Client, url string) bool {
	r, err := http.NewRequestWithContext(ctx, http.MethodGet, url, http.NoBody)
	if err != nil {
		return false
	}
	resp, err := client.Do(r)
	if err != nil {
		return false
	}
	// Whoever answers lives; what it says is in its report.
	_ = resp.Body.Close()
	return true
}

// askPublic asks peers at their public addresses until ctx ends.
func (s *session) askPublic(ctx context.Context) error {
	return s.public.run(ctx, func() { poke(s.look) })
}
