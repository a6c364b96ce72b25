// Package operator holds what one run of the provider acts with: the operator's credentials, and what the run has learnt of
// each cluster's nodes. Resources receive an *Operator and reach agents, machines and one another's results through it.
package operator

import (
	"errors"
	"sync"
	"time"

	"github.com/atollhq/terraform-provider-atoll/internal/api"
	"github.com/atollhq/terraform-provider-atoll/internal/cloud/cloudflare"
	"github.com/atollhq/terraform-provider-atoll/internal/cloud/linode"
	"github.com/atollhq/terraform-provider-atoll/internal/provider/adoption"
	"github.com/atollhq/terraform-provider-atoll/internal/spec"
	"github.com/atollhq/terraform-provider-atoll/internal/trust"
)

// ErrNoLinodeToken is returned when a Linode is asked for and the provider has no token.
var ErrNoLinodeToken = errors.New("no Linode token: set linode.token in the provider block, or LINODE_TOKEN")

// ErrNoCloudflareToken is returned when a load balancer is asked for and the provider has no token.
var ErrNoCloudflareToken = errors.New(
	"no Cloudflare token: set cloudflare.api_token in the provider block, or CLOUDFLARE_API_TOKEN, or CLOUDFLARE_API_TOKEN_FILE")

// UnknownError is returned when a credential is needed whose value Terraform does not know yet.
type UnknownError struct {
	// Attribute is the provider's argument.
	Attribute string
}

// Error names the argument and the remedy.
func (e *UnknownError) Error() string {
	return "the provider's argument " + e.Attribute + " depends on something that does not exist yet; give it a value that is known at plan time, or apply in two steps"
}

// Config is what the provider block and the environment say.
type Config struct {
	// Version is the provider's version, for logs of the other side.
	Version string
	// SigningKey returns the cluster's signing key. It is called when the key is first needed.
	SigningKey func() (*trust.SigningKey, error)
	// Linode is complete but for URL and version, which have defaults; LinodeErr tells why it cannot be used.
	Linode    linode.Config
	LinodeErr error
	// Cloudflare is complete but for the URL, which has a default; CloudflareErr tells why it cannot be used.
	Cloudflare    cloudflare.Config
	CloudflareErr error
	// Adoption is how machines are reached by SSH.
	Adoption adoption.Config
	// Patience is for tests; zero values stand for defaults that suit real machines.
	Patience Patience
}

// Patience is how long single attempts to reach an agent may take.
type Patience struct {
	// Dial bounds one request to an agent while reading. Default 10 s.
	Dial time.Duration
	// Poll is the pause between two looks at an agent. Default 1 s.
	Poll time.Duration
	// Farewell is how long a removal waits for each remaining node to acknowledge it. Default 30 s.
	Farewell time.Duration
	// Direct is how long a link that is up waits for the direct path in both directions. Default 15 s.
	Direct time.Duration
	// Resume is how long a machine that an earlier run left is asked whether it is finished. Default 3 min.
	Resume time.Duration
	// Effect is how long nodes may take to put into effect what they were told of a load balancer. Default 1 min.
	Effect time.Duration
	// Fitness is how long nodes that have put it into effect may take to find themselves fit: some checks of the application. Default 5 s.
	Fitness time.Duration
}

// Operator is one configured provider. Safe for concurrent use.
type Operator struct {
	cfg    Config
	key    func() (*trust.SigningKey, error)
	linode func() (*linode.Client, error)
	edge   func() (*cloudflare.Client, error)
	memory memory
	facts  sync.Map

	mu       sync.Mutex
	clusters map[string]*Cluster
}

// New returns the operator for cfg. It reads no key and dials nobody yet.
func New(cfg Config) *Operator {
	if cfg.Patience.Dial == 0 {
		cfg.Patience.Dial = 10 * time.Second
	}
	if cfg.Patience.Poll == 0 {
		cfg.Patience.Poll = time.Second
	}
	if cfg.Patience.Farewell == 0 {
		cfg.Patience.Farewell = 30 * time.Second
	}
	if cfg.Patience.Resume == 0 {
		cfg.Patience.Resume = 3 * time.Minute
	}
	if cfg.Patience.Effect == 0 {
		cfg.Patience.Effect = time.Minute
	}
	if cfg.Patience.Fitness == 0 {
		cfg.Patience.Fitness = 5 * time.Second
	}
	if cfg.Patience.Direct == 0 {
		cfg.Patience.Direct = 15 * time.Second
	}
	o := &Operator{cfg: cfg, clusters: map[string]*Cluster{}}
	o.memory.looks, o.memory.statuses = map[string]*answer[Known]{}, map[string]*answer[api.ClusterStatus]{}
	o.key = sync.OnceValues(cfg.SigningKey)
	o.linode = sync.OnceValues(func() (*linode.Client, error) {
		switch {
		case cfg.LinodeErr != nil:
			return nil, cfg.LinodeErr
		case cfg.Linode.Token == "":
			return nil, ErrNoLinodeToken
		}
		return linode.New(cfg.Linode)
	})
	o.edge = sync.OnceValues(func() (*cloudflare.Client, error) {
		switch {
		case cfg.CloudflareErr != nil:
			return nil, cfg.CloudflareErr
		case cfg.Cloudflare.Token == "":
			return nil, ErrNoCloudflareToken
		}
		return cloudflare.New(cfg.Cloudflare)
	})
	return o
}

// Key returns the signing key, trust.ErrNoSigningKey when the provider has none.
func (o *Operator) Key() (*trust.SigningKey, error) { return o.key() }

// Linode returns the client of Linode's API, ErrNoLinodeToken when the provider has no token.
func (o *Operator) Linode() (*linode.Client, error) { return o.linode() }

// Cloudflare returns the client of Cloudflare's API, ErrNoCloudflareToken when the provider has no token.
func (o *Operator) Cloudflare() (*cloudflare.Client, error) { return o.edge() }

// CloudflareAs returns a client of the same API with another token.
func (o *Operator) CloudflareAs(token string) (*cloudflare.Client, error) {
	cfg := o.cfg.Cloudflare
	cfg.Token = token
	return cloudflare.New(cfg)
}

// Adoption returns how machines are reached by SSH.
func (o *Operator) Adoption() adoption.Config { return o.cfg.Adoption }

// Patience returns how long single attempts may take.
func (o *Operator) Patience() Patience { return o.cfg.Patience }

// Note keeps a fact for the rest of this run, and tells whether it is news. Of two resources that would make one and the same
// thing of a vendor's, only the one that notes it first may.
func (o *Operator) Note(fact string) (news bool) {
	_, known := o.facts.LoadOrStore(fact, true)
	return !known
}

// Noted tells whether a fact was noted in this run.
func (o *Operator) Noted(fact string) bool {
	_, known := o.facts.Load(fact)
	return known
}

// Cluster returns what this run knows of the cluster of that name.
func (o *Operator) Cluster(name string) *Cluster {
	o.mu.Lock()
	defer o.mu.Unlock()
	c := o.clusters[name]
	if c == nil {
		c = &Cluster{
			name: name, nodes: map[string]Peer{}, planned: map[string]Planned{}, heard: map[string][]string{}, buried: map[string]uint64{},
			members: map[string]PlannedMember{}, pushed: map[spec.Ref]uint64{}, pairs: map[string]PlannedPair{}, leaving: map[string]bool{},
			places: map[string]PlannedPlace{},
		}
		o.clusters[name] = c
	}
	return c
}

// Now returns the operator's clock.
func (o *Operator) Now() time.Time { return time.Now() }

// Generation returns the generation of the next object of a reference whose newest known generation is known: the clock in
// milliseconds, or one more than known when the clock is behind.
func Generation(known uint64, now time.Time) uint64 {
	return max(known+1, uint64(max(now.UnixMilli(), 0)))
}
