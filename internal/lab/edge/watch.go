package edge

import (
	"context"
	"net"
	"reflect"
	"strconv"
	"sync"
	"time"

	"github.com/atollhq/terraform-provider-atoll/internal/lab/cloudflare"
)

// key names an endpoint of a pool.
type key struct {
	pool    string // the identifier
	address string
	port    int
}

func keyOf(pool *cloudflare.Pool, origin *cloudflare.Origin) key {
	return key{pool.ID, origin.Address, origin.Port}
}

// place is a name for the endpoint in logs.
func (k key) place() string { return net.JoinHostPort(k.address, strconv.Itoa(k.port)) }

// watch is the checking of one endpoint by one monitor.
type watch struct {
	monitor cloudflare.Monitor
	host    string // the endpoint's own Host header, "" for none
	cancel  context.CancelFunc

	mu      sync.Mutex
	known   bool // false before the first check
	healthy bool
	last    result
	row     int // checks in a row that speak against healthy
	rtt     time.Duration
}

// result is what one check found.
type result struct {
	ok     bool
	reason string
	code   int
	rtt    time.Duration
}

// smoothing is the weight of a new time in the moving average by which dynamic steering compares pools. The vendor does
// not publish its own.
const smoothing = 0.3

// add takes a result in and says whether the endpoint's health changed by it.
func (w *watch) add(r result) (changed bool) {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.last = r
	if r.ok {
		if w.rtt == 0 {
			w.rtt = r.rtt
		}
		w.rtt += time.Duration(smoothing * float64(r.rtt-w.rtt))
	}
	if !w.known {
		w.known, w.healthy, w.row = true, r.ok, 0
		return true
	}
	if r.ok == w.healthy {
		w.row = 0
		return false
	}
	w.row++
	needed := w.monitor.ConsecutiveDown
	if r.ok {
		needed = w.monitor.ConsecutiveUp
	}
	if w.row < max(needed, 1) {
		return false
	}
	w.healthy, w.row = r.ok, 0
	return true
}

// state returns what is known of the endpoint.
func (w *watch) state() (known, healthy bool, last result, rtt time.Duration) {
	w.mu.Lock()
	defer w.mu.Unlock()
	return w.known, w.healthy, w.last, w.rtt
}

// watch makes the checks those that the account asks for. An endpoint that is disabled is not checked; what was last known
// of it counts for the sessions that drain from it. The caller holds reloading.
func (e *Edge) watch(account *cloudflare.Account) {
	if e.ctx.Err() != nil {
		return
	}
	e.mu.Lock()
	defer e.mu.Unlock()
	wanted := map[key]bool{}
	for _, pool := range account.Pools {
		monitor, ok := account.Monitor(pool.Monitor)
		if !ok {
			continue
		}
		// A monitor that was saved again without a change begins nothing anew.
		monitor.ModifiedOn = time.Time{}
		for _, origin := range pool.Origins {
			k, host := keyOf(&pool, &origin), hostHeader(&origin)
			wanted[k] = true
			old := e.watches[k]
			active := pool.Enabled && origin.Enabled
			switch {
			case old != nil && !active:
				old.cancel()
				old.monitor.ID = "" // so that it begins again once the endpoint is enabled
			case !active, old != nil && old.host == host && reflect.DeepEqual(old.monitor, monitor):
			default:
				if old != nil {
					old.cancel()
				}
				e.watches[k] = e.newWatch(k, monitor, host, old)
			}
		}
	}
	for k, w := range e.watches {
		if !wanted[k] {
			w.cancel()
			delete(e.watches, k)
		}
	}
}

// newWatch begins to check an endpoint. Its health is unknown, unless another monitor knew it until now. The caller holds
// the lock.
func (e *Edge) newWatch(k key, monitor cloudflare.Monitor, host string, old *watch) *watch {
	ctx, cancel := context.WithCancel(e.ctx)
	w := &watch{monitor: monitor, host: host, cancel: cancel}
	if old != nil && old.monitor.ID != "" {
		w.known, w.healthy, w.last, w.rtt = old.state()
	}
	e.work.Go(func() {
		defer cancel()
		tick := time.NewTicker(e.seconds(monitor.Interval))
		defer tick.Stop()
		for {
			r := e.check(ctx, k, &monitor, host)
			if ctx.Err() != nil {
				return
			}
			if w.add(r) {
				_, healthy, _, _ := w.state()
				e.Log.Info("health of an endpoint changed", "pool", k.pool, "endpoint", k.place(), "healthy", healthy, "reason", r.reason)
			}
			select {
			case <-tick.C:
			case <-ctx.Done():
				return
			}
		}
	})
	return w
}

// seconds is how long a number of the account's seconds lasts here.
func (e *Edge) seconds(n int) time.Duration { return time.Duration(n) * e.Second }

// up says whether an endpoint is well. Without a monitor every endpoint is; with one, an endpoint of which nothing is
// known is not.
func (e *Edge) up(pool *cloudflare.Pool, origin *cloudflare.Origin) bool {
	if pool.Monitor == "" {
		return true
	}
	e.mu.Lock()
	w := e.watches[keyOf(pool, origin)]
	e.mu.Unlock()
	if w == nil {
		return false
	}
	_, healthy, _, _ := w.state()
	return healthy
}

// usable are the endpoints of a pool that may get new clients.
func (e *Edge) usable(pool *cloudflare.Pool) []cloudflare.Origin {
	if !pool.Enabled {
		return nil
	}
	var list []cloudflare.Origin
	for _, origin := range pool.Origins {
		if origin.Enabled && e.up(pool, &origin) {
			list = append(list, origin)
		}
	}
	return list
}

// well says whether a pool is healthy enough to get traffic.
func (e *Edge) well(pool *cloudflare.Pool) bool {
	return len(e.usable(pool)) >= max(pool.MinimumOrigins, 1)
}

// PoolHealth implements [cloudflare.Health]: it is what the edge has measured.
func (e *Edge) PoolHealth(pool cloudflare.Pool) map[string]cloudflare.PopHealth {
	e.start()
	e.mu.Lock()
	watches := make([]*watch, 0, len(pool.Origins))
	for _, origin := range pool.Origins {
		watches = append(watches, e.watches[keyOf(&pool, &origin)])
	}
	e.mu.Unlock()
	pop := cloudflare.PopHealth{Healthy: e.well(&pool)}
	for n, w := range watches {
		if w == nil || !pool.Origins[n].Enabled {
			continue
		}
		known, healthy, last, rtt := w.state()
		if !known {
			continue
		}
		pop.Origins = append(pop.Origins, cloudflare.OriginHealth{
			Address: pool.Origins[n].Address, Healthy: healthy, FailureReason: last.reason, ResponseCode: last.code, RTT: rtt,
		})
	}
	if len(pop.Origins) == 0 {
		return nil
	}
	return map[string]cloudflare.PopHealth{e.Place: pop}
}

// latency is the mean of the smoothed times of a pool's healthy endpoints; false before any was measured.
func (e *Edge) latency(pool *cloudflare.Pool) (time.Duration, bool) {
	var times []time.Duration
	for _, origin := range e.usable(pool) {
		e.mu.Lock()
		w := e.watches[keyOf(pool, &origin)]
		e.mu.Unlock()
		if w == nil {
			continue
		}
		if known, _, _, rtt := w.state(); known && rtt > 0 {
			times = append(times, rtt)
		}
	}
	if len(times) == 0 {
		return 0, false
	}
	var sum time.Duration
	for _, t := range times {
		sum += t
	}
	return sum / time.Duration(len(times)), true
}

func hostHeader(origin *cloudflare.Origin) string {
	if hosts := origin.Header["Host"]; len(hosts) > 0 {
		return hosts[0]
	}
	return ""
}
