package probes

import (
	"context"
	"errors"
	"net/netip"
	"sync"
	"syscall"
	"time"
)

// portState is how a TCP port answers.
type portState int

const (
	portUnknown portState = iota
	portOpen
	portRefused
	portSilent
)

const (
	// checkInterval is how often the ports of a peer in trouble are asked.
	checkInterval = 20 * time.Second
	checkTimeout  = 3 * time.Second
	// echoInterval is how soon a peer that may have fallen silent is asked over the mesh again, echoFresh how long the answer counts.
	echoInterval = 300 * time.Millisecond
	echoFresh    = 3 * time.Second
)

// checked is how a peer's ports answered.
type checked struct {
	meshPort, apiPort portState
	meshAsked         time.Time
}

func (c *checked) mesh() portState {
	if c == nil {
		return portUnknown
	}
	return c.meshPort
}

func (c *checked) api() portState {
	if c == nil {
		return portUnknown
	}
	return c.apiPort
}

// checks asks peers in trouble what more there is to know. It is safe for concurrent use.
type checks struct {
	cfg  Config
	done sync.WaitGroup

	mu sync.Mutex
	// asked and echoed are when a peer was asked last, asking tells that its echoes are out.
	asked, echoed map[string]time.Time
	asking        map[string]bool
	results       map[string]checked
	echoes        map[string]echo
}

// echo is whether a peer answered over the mesh, asked at a time.
type echo struct {
	asked    time.Time
	answered bool
}

func newChecks(c Config) *checks {
	return &checks{cfg: c, asked: map[string]time.Time{}, echoed: map[string]time.Time{}, asking: map[string]bool{}, results: map[string]checked{}, echoes: map[string]echo{}}
}

func (c *checks) wait() { c.done.Wait() }

// result returns how a peer's ports answered lately, nil when they were not asked.
func (c *checks) result(peer string) *checked {
	c.mu.Lock()
	defer c.mu.Unlock()
	if r, known := c.results[peer]; known && c.cfg.Now().Sub(c.asked[peer]) < 2*checkInterval {
		return &r
	}
	return nil
}

// ask asks a peer's ports, unless that was done lately. MeshPort is 0 where an answer would say nothing: what it answered a moment before stays.
func (c *checks) ask(ctx context.Context, peer string, address netip.Addr, meshPort, apiPort int) {
	c.mu.Lock()
	defer c.mu.Unlock()
	now := c.cfg.Now()
	if now.Sub(c.asked[peer]) < checkInterval {
		return
	}
	c.asked[peer] = now
	c.done.Go(func() {
		ctx, cancel := context.WithTimeout(ctx, checkTimeout)
		defer cancel()
		var r checked
		var both sync.WaitGroup
		if meshPort != 0 {
			both.Go(func() { r.meshPort = c.dial(ctx, address, meshPort) })
		}
		both.Go(func() { r.apiPort = c.dial(ctx, address, apiPort) })
		both.Wait()
		c.mu.Lock()
		defer c.mu.Unlock()
		r.meshAsked = now
		if before, known := c.results[peer]; meshPort == 0 && known && now.Sub(before.meshAsked) < 3*checkInterval {
			r.meshPort, r.meshAsked = before.meshPort, before.meshAsked
		}
		c.results[peer] = r
	})
}

func (c *checks) dial(ctx context.Context, address netip.Addr, port int) portState {
	err := c.cfg.Dial(ctx, netip.AddrPortFrom(address, uint16(port))) //nolint:gosec // a port has 16 bits
	switch {
	case err == nil:
		return portOpen
	case errors.Is(err, syscall.ECONNREFUSED):
		return portRefused
	}
	return portSilent
}

// suspect asks a peer over the mesh, unless that was done a moment ago. Whether it is silent too shows with silentOverMesh.
func (c *checks) suspect(ctx context.Context, peer string, address netip.Addr, wait time.Duration) {
	c.mu.Lock()
	defer c.mu.Unlock()
	now := c.cfg.Now()
	if c.asking[peer] || now.Sub(c.echoed[peer]) < echoInterval {
		return
	}
	c.echoed[peer], c.asking[peer] = now, true
	c.done.Go(func() {
		answered := c.cfg.Echo(ctx, address, wait)
		c.mu.Lock()
		defer c.mu.Unlock()
		c.asking[peer] = false
		if ctx.Err() != nil {
			return
		}
		c.echoes[peer] = echo{now, answered}
	})
}

// silentOverMesh tells whether a peer was asked over the mesh lately, after a moment, and did not answer.
func (c *checks) silentOverMesh(peer string, after time.Time) bool {
	c.mu.Lock()
	defer c.mu.Unlock()
	e, known := c.echoes[peer]
	return known && !e.answered && !e.asked.Before(after) && c.cfg.Now().Sub(e.asked) < echoFresh
}
