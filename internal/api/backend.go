package api

import (
	"context"
	"time"

	"github.com/atollhq/terraform-provider-atoll/internal/store"
	"github.com/atollhq/terraform-provider-atoll/internal/trust"
)

// Backend is what the API serves: an agent. Its methods are called concurrently.
type Backend interface {
	// Info returns what the agent says of itself.
	Info() Info
	// Status returns the whole cluster as the agent sees it.
	Status() ClusterStatus
	// Admit decides whether a node with a valid proof is a member. When it is not, err is a trust.Refusal, and evidence
	// holds the records that show the caller why.
	Admit(m trust.Member) (evidence []store.Record, err error)
	// Called tells that an admitted node has called, and which start of its agent that was; boot is "" when it did not say.
	Called(node, boot string)
	// Records returns every record.
	Records() []store.Record
	// Push merges the caller's records and returns what became of each, in order, once they are on disk. What the operator
	// pushes is on this agent to spread; another agent does that itself. Of two runs of the operator that sign one generation
	// at once the one that comes second is not taken.
	Push(from trust.Caller, recs []store.Record) []store.Outcome
	// Sync compares digests as store.Newer does.
	Sync(d store.Digest) (newer []store.Record, wanted []store.Key)
	// Leave removes everything that the agent made on its machine, for a node that the operator takes out of the cluster.
	// It returns when that is under way; the agent ends by itself.
	Leave(ctx context.Context) error
	// Wake tells that somebody has pushed something, for an agent that sleeps between two rounds.
	Wake()
}

// StoreBackend implements the part of Backend that a store answers. Embed it.
type StoreBackend struct {
	Store *store.Store
	// Node is the name of the node that answers.
	Node string
	// Now is the clock; nil is the machine's.
	Now func() time.Time
}

// Status implements Backend.
func (b StoreBackend) Status() ClusterStatus {
	now := time.Now
	if b.Now != nil {
		now = b.Now
	}
	return StatusOf(b.Node, b.Store.Snapshot(), now())
}

// Admit implements Backend.
func (b StoreBackend) Admit(m trust.Member) ([]store.Record, error) {
	if err := b.Store.Admit(m); err != nil {
		return b.Store.Get([]store.Key{store.TombstoneKey(m.Node)}), err
	}
	return nil, nil
}

// Called implements Backend. A store does not care who calls.
func (StoreBackend) Called(string, string) {}

// Records implements Backend.
func (b StoreBackend) Records() []store.Record { return b.Store.Records() }

// Push implements Backend.
func (b StoreBackend) Push(from trust.Caller, recs []store.Record) []store.Outcome {
	if from.Operator {
		return b.Store.Offer(recs)
	}
	return b.Store.MergeRemote(recs)
}

// Sync implements Backend.
func (b StoreBackend) Sync(d store.Digest) ([]store.Record, []store.Key) { return b.Store.Newer(d) }
