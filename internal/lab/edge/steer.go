package edge

import (
	"cmp"
	"hash/fnv"
	"math"
	"math/rand/v2"
	"slices"
	"strconv"

	"github.com/atollhq/terraform-provider-atoll/internal/lab/cloudflare"
)

// endpoint is where a request may go.
type endpoint struct {
	pool   cloudflare.Pool
	origin cloudflare.Origin
}

func (p *endpoint) key() key { return keyOf(&p.pool, &p.origin) }

// client is what steering knows of who asks.
type client struct {
	address string // without port
	region  string
	country string
}

// order returns the pools of a load balancer that are well, in the order in which its steering policy prefers them now.
func (e *Edge) order(b *cloudflare.LoadBalancer, c client) []cloudflare.Pool {
	account := e.account.Load()
	names := b.DefaultPools
	if b.SteeringPolicy == "geo" {
		if pools := b.RegionPools[c.region]; len(pools) > 0 {
			names = pools
		}
		if pools := b.CountryPools[c.country]; len(pools) > 0 {
			names = pools
		}
	}
	var pools []cloudflare.Pool
	for _, id := range names {
		if pool, ok := account.Pool(id); ok && e.well(&pool) {
			pools = append(pools, pool)
		}
	}
	weigh := func(pool *cloudflare.Pool) float64 {
		if weight, ok := b.RandomSteering.PoolWeights[pool.ID]; ok {
			return weight
		}
		return b.RandomSteering.DefaultWeight
	}
	switch b.SteeringPolicy {
	case "random":
		weightedShuffle(pools, weigh)
	case "dynamic_latency":
		e.byLatency(pools)
	case "proximity":
		slices.SortStableFunc(pools, func(a, b cloudflare.Pool) int { return cmp.Compare(e.distance(&a), e.distance(&b)) })
	case "least_outstanding_requests", "least_connections":
		e.byLoad(pools, func(pool *cloudflare.Pool) (string, float64) { return pool.ID, weigh(pool) })
	}
	return pools
}

// byLatency sorts the fastest first. Pools that nobody has measured come after those, in the order of failover.
func (e *Edge) byLatency(pools []cloudflare.Pool) {
	times := map[string]float64{}
	for n := range pools {
		times[pools[n].ID] = math.Inf(1)
		if rtt, ok := e.latency(&pools[n]); ok {
			times[pools[n].ID] = rtt.Seconds()
		}
	}
	slices.SortStableFunc(pools, func(a, b cloudflare.Pool) int { return cmp.Compare(times[a.ID], times[b.ID]) })
}

// distance is how far a pool is, in an unit that compares.
func (e *Edge) distance(pool *cloudflare.Pool) float64 {
	if pool.Latitude == nil || pool.Longitude == nil {
		return math.Inf(1)
	}
	rad := math.Pi / 180
	lat1, lat2 := e.Latitude*rad, *pool.Latitude*rad
	dLat, dLon := lat2-lat1, (*pool.Longitude-e.Longitude)*rad
	h := math.Pow(math.Sin(dLat/2), 2) + math.Cos(lat1)*math.Cos(lat2)*math.Pow(math.Sin(dLon/2), 2)
	return math.Asin(math.Min(math.Sqrt(h), 1)) // the haversine formula, without the radius
}

// byLoad sorts by requests under way, each divided by the weight; equal ones are shuffled.
func (e *Edge) byLoad(pools []cloudflare.Pool, name func(*cloudflare.Pool) (string, float64)) {
	rand.Shuffle(len(pools), func(i, j int) { pools[i], pools[j] = pools[j], pools[i] })
	e.mu.Lock()
	defer e.mu.Unlock()
	loads := map[string]float64{}
	for n := range pools {
		id, weight := name(&pools[n])
		loads[pools[n].ID] = load(e.pending[id], weight)
	}
	slices.SortStableFunc(pools, func(a, b cloudflare.Pool) int { return cmp.Compare(loads[a.ID], loads[b.ID]) })
}

// load compares how busy things of different weights are; one of no weight is the busiest.
func load(pending int, weight float64) float64 {
	if weight <= 0 {
		return math.Inf(1)
	}
	return float64(pending+1) / weight
}

// weightedShuffle puts a random element first, then another, each by its weight among the rest; those without weight come
// last.
func weightedShuffle[T any](list []T, weight func(*T) float64) {
	keys := make([]float64, len(list))
	places := make([]int, len(list))
	for n := range list {
		places[n], keys[n] = n, math.Inf(1)
		if w := weight(&list[n]); w > 0 {
			keys[n] = rand.ExpFloat64() / w // the first of such keys is drawn by weight
		}
	}
	slices.SortStableFunc(places, func(a, b int) int { return cmp.Compare(keys[a], keys[b]) })
	shuffled := make([]T, 0, len(list))
	for _, n := range places {
		shuffled = append(shuffled, list[n])
	}
	copy(list, shuffled)
}

// arrange puts endpoints of a pool into the order in which it prefers them for a client now. Endpoints of weight 0 get
// nothing while there is another.
func (e *Edge) arrange(pool *cloudflare.Pool, origins []cloudflare.Origin, c client, stable bool) []cloudflare.Origin {
	origins = slices.Clone(origins)
	weight := func(o *cloudflare.Origin) float64 { return o.Weight }
	policy := pool.OriginSteering.Policy
	if stable {
		policy = "hash"
	}
	switch policy {
	case "hash":
		slices.SortStableFunc(origins, func(a, b cloudflare.Origin) int {
			return cmp.Compare(hashKey(c.address, &a), hashKey(c.address, &b))
		})
	case "least_outstanding_requests", "least_connections":
		weightedShuffle(origins, weight)
		e.mu.Lock()
		defer e.mu.Unlock()
		slices.SortStableFunc(origins, func(a, b cloudflare.Origin) int {
			return cmp.Compare(
				load(e.pending[pendingName(keyOf(pool, &a))], a.Weight), load(e.pending[pendingName(keyOf(pool, &b))], b.Weight))
		})
	default:
		weightedShuffle(origins, weight)
	}
	return origins
}

// hashKey orders endpoints for a client; the order of the others stays when one goes (rendezvous hashing).
func hashKey(address string, o *cloudflare.Origin) float64 {
	if o.Weight <= 0 {
		return math.Inf(1)
	}
	h := fnv.New64a()
	_, _ = h.Write([]byte(address + "\x00" + o.Address + "\x00" + strconv.Itoa(o.Port))) // it never fails
	x := h.Sum64()
	// FNV mixes its last bytes badly; this is the finalizer of MurmurHash3.
	x ^= x >> 33
	x *= 0xff51afd7ed558ccd
	x ^= x >> 33
	x *= 0xc4ceb9fe1a85ec53
	x ^= x >> 33
	unit := (float64(x>>11) + 0.5) / (1 << 53)
	return -math.Log(unit) / o.Weight
}

// pick chooses an endpoint for a new client of a load balancer; false when not even the fallback pool has one.
func (e *Edge) pick(b *cloudflare.LoadBalancer, c client) (endpoint, bool) {
	stable := b.SessionAffinity == "ip_cookie"
	for _, pool := range e.order(b, c) {
		// A monitor may have given up the last one since.
		if usable := e.usable(&pool); len(usable) > 0 {
			return endpoint{pool, e.arrange(&pool, usable, c, stable)[0]}, true
		}
	}
	// The last resort: whether it is well does not count.
	fallback, ok := e.account.Load().Pool(b.FallbackPool)
	if !ok || !fallback.Enabled {
		return endpoint{}, false
	}
	enabled := slices.DeleteFunc(slices.Clone(fallback.Origins), func(o cloudflare.Origin) bool { return !o.Enabled })
	if len(enabled) == 0 {
		return endpoint{}, false
	}
	return endpoint{fallback, e.arrange(&fallback, enabled, c, stable)[0]}, true
}

// another chooses an endpoint for a request that did not get through to the first: a healthy one of the same pool, or of
// other pools when those may help out.
func (e *Edge) another(b *cloudflare.LoadBalancer, first *endpoint, c client) (endpoint, bool) {
	pools := []cloudflare.Pool{first.pool}
	if b != nil && b.AdaptiveRouting.FailoverAcrossPools {
		pools = append(pools, e.order(b, c)...)
	}
	for _, pool := range pools {
		others := slices.DeleteFunc(e.usable(&pool), func(o cloudflare.Origin) bool {
			return o.Address == first.origin.Address && o.Port == first.origin.Port
		})
		if len(others) > 0 {
			return endpoint{pool, e.arrange(&pool, others, c, false)[0]}, true
		}
	}
	return endpoint{}, false
}
