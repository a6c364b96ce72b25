package operator

import (
	"context"
	"errors"
	"sync"
	"time"

	"github.com/atollhq/terraform-provider-atoll/internal/api"
	"github.com/atollhq/terraform-provider-atoll/internal/spec"
	"github.com/atollhq/terraform-provider-atoll/internal/trust"
)

// glanceAge is how old an answer may be that a refresh uses. All resources of a cluster are refreshed within moments, and
// each would ask the same nodes the same things.
const glanceAge = 10 * time.Second

// memory holds what a run need not find out twice: signatures that were verified, and answers that are a few seconds old.
// It grows with the clusters of one run. Safe for concurrent use.
type memory struct {
	objects sync.Map // envelopeKey -> verdict[spec.Object]
	proofs  sync.Map // envelopeKey -> verdict[trust.Member]

	mu       sync.Mutex
	looks    map[string]*answer[Known]
	statuses map[string]*answer[api.ClusterStatus]
}

type envelopeKey struct{ cluster, payload, more string }

type verdict[T any] struct {
	value T
	err   error
}

// verify returns what was found out about an envelope before, or finds it out. Every node holds the same envelopes.
func verify[T any](memo *sync.Map, key envelopeKey, f func() (T, error)) (T, error) {
	if v, ok := memo.Load(key); ok {
		if known, ok := v.(verdict[T]); ok {
			return known.value, known.err
		}
	}
	value, err := f()
	memo.Store(key, verdict[T]{value, err})
	return value, err
}

func signatures(e trust.Envelope) string {
	out := ""
	for _, s := range e.Signatures {
		out += s.KeyID + ":" + s.Sig + ";"
	}
	return out
}

func (m *memory) object(root trust.Root, e trust.Envelope) (spec.Object, error) {
	key := envelopeKey{root.Cluster, e.PayloadType + e.Payload, signatures(e)}
	return verify(&m.objects, key, func() (spec.Object, error) { return root.VerifyObject(e) })
}

func (m *memory) proof(root trust.Root, p trust.Proof) (trust.Member, error) {
	key := envelopeKey{
		root.Cluster, p.Ticket.PayloadType + p.Ticket.Payload + p.Claim.PayloadType + p.Claim.Payload,
		signatures(p.Ticket) + signatures(p.Claim),
	}
	return verify(&m.proofs, key, func() (trust.Member, error) { return root.VerifyProof(p) })
}

// answer is something that was asked, or is being asked.
type answer[T any] struct {
	ready chan struct{}
	at    time.Time
	value T
	err   error
}

// recent returns an answer that is at most glanceAge old, or asks; who asks for the same at the same time waits for it.
func recent[T any](ctx context.Context, mu *sync.Mutex, answers map[string]*answer[T], key string, ask func() (T, error)) (T, error) {
	mu.Lock()
	a := answers[key]
	if a != nil && (a.at.IsZero() || time.Since(a.at) < glanceAge) {
		mu.Unlock()
		select {
		case <-a.ready:
			return a.value, a.err
		case <-ctx.Done():
			var zero T
			return zero, ctx.Err()
		}
	}
	a = &answer[T]{ready: make(chan struct{})}
	answers[key] = a
	mu.Unlock()
	value, err := ask()
	mu.Lock()
	a.value, a.err, a.at = value, err, time.Now()
	if errors.Is(err, context.Canceled) {
		delete(answers, key) // the caller went away, which says nothing about the node
	}
	mu.Unlock()
	close(a.ready)
	return value, err
}

// Glance is Look for a refresh: the answer may be some seconds old.
func (o *Operator) Glance(ctx context.Context, cluster string, p Peer) (Known, error) {
	key := cluster + "/" + p.Name + "/" + p.Identity
	return recent(ctx, &o.memory.mu, o.memory.looks, key, func() (Known, error) {
		return o.Look(ctx, cluster, p.Name, p.Endpoints, p.Identity)
	})
}

// Overview is Status for a refresh: the whole cluster as the first of the peers that answers sees it, or as another one saw
// it some seconds ago.
func (o *Operator) Overview(ctx context.Context, cluster string, peers []Peer) (api.ClusterStatus, error) {
	return recent(ctx, &o.memory.mu, o.memory.statuses, cluster, func() (api.ClusterStatus, error) {
		var errs []error
		for _, p := range peers {
			status, err := o.Status(ctx, cluster, p)
			if err == nil {
				return status, nil
			}
			errs = append(errs, err)
		}
		return api.ClusterStatus{}, errors.Join(errs...)
	})
}
