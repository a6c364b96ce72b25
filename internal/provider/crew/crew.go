// Package crew reaches the nodes of a cluster in one operation of a resource that belongs to several of them: whoever answers
// first is asked, all are told, and nodes that are gone keep nobody waiting.
package crew

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"slices"
	"strings"
	"sync"

	"github.com/hashicorp/terraform-plugin-framework/diag"
	"github.com/hashicorp/terraform-plugin-framework/path"

	"github.com/atollhq/terraform-provider-atoll/internal/api"
	"github.com/atollhq/terraform-provider-atoll/internal/provider/diagnose"
	"github.com/atollhq/terraform-provider-atoll/internal/provider/operator"
	"github.com/atollhq/terraform-provider-atoll/internal/spec"
	"github.com/atollhq/terraform-provider-atoll/internal/store"
	"github.com/atollhq/terraform-provider-atoll/internal/trust"
)

// Crew are nodes of one cluster. It belongs to one operation and is not safe for concurrent use.
type Crew struct {
	op      *operator.Operator
	key     *trust.SigningKey
	cluster string
	peers   []operator.Peer
}

// New returns the crew of a cluster's nodes by name: those given, and everything else that this run has learnt or heard of. One
// that this run removes is left out. It needs the signing key.
func New(op *operator.Operator, cluster string, given ...operator.Peer) (*Crew, diag.Diagnostics) {
	c := &Crew{op: op, cluster: cluster}
	key, err := op.Key()
	if err != nil {
		return c, diag.Diagnostics{diagnose.SigningKey(err)}
	}
	c.key = key
	reg := op.Cluster(cluster)
	c.Add(given...)
	c.Add(reg.Others("")...)
	for name, endpoints := range reg.Heard("") {
		c.Add(operator.Peer{Name: name, Endpoints: endpoints})
	}
	return c, nil
}

// Add adds nodes that are not there yet.
func (c *Crew) Add(peers ...operator.Peer) {
	for _, p := range peers {
		known := slices.ContainsFunc(c.peers, func(q operator.Peer) bool { return q.Name == p.Name })
		if !known && p.Name != "" && len(p.Endpoints) > 0 && !c.op.Cluster(c.cluster).Removed(p.Name) {
			c.peers = append(c.peers, p)
		}
	}
	slices.SortFunc(c.peers, func(a, b operator.Peer) int { return strings.Compare(a.Name, b.Name) })
}

// AddKnown adds the nodes that another one has told of.
func (c *Crew) AddKnown(seen operator.Known) {
	for name, endpoints := range seen.Endpoints("") {
		c.Add(operator.Peer{Name: name, Endpoints: endpoints})
	}
}

// Names returns the nodes' names, sorted.
func (c *Crew) Names() []string {
	out := make([]string, 0, len(c.peers))
	for _, p := range c.peers {
		out = append(out, p.Name)
	}
	return out
}

// Endpoints returns where the nodes' agents are, by name.
func (c *Crew) Endpoints() map[string][]string {
	out := map[string][]string{}
	for _, p := range c.peers {
		out[p.Name] = p.Endpoints
	}
	return out
}

// Key returns the signing key.
func (c *Crew) Key() *trust.SigningKey { return c.key }

// Op returns the operator.
func (c *Crew) Op() *operator.Operator { return c.op }

// Seen is what nodes hold, as the one of those that answered tells it that knows most of an object.
type Seen struct {
	operator.Known
	// Silent are the nodes that did not answer, with why. Who was not waited for is not among them.
	Silent map[string]error
}

// Look reads what the nodes hold: the answer of the first that knows an object of at least this generation, or of the one that knows
// the newest when all have answered or failed to. A node that has just joined knows nothing yet. It fails when none answers.
func (c *Crew) Look(ctx context.Context, ref spec.Ref, generation uint64) (Seen, error) {
	return c.newest(ctx, ref, generation, func(ctx context.Context, p operator.Peer) (operator.Known, error) {
		return c.op.Look(ctx, c.cluster, p.Name, p.Endpoints, p.Identity)
	})
}

// Glance is Look for a refresh: the answer may be some seconds old.
func (c *Crew) Glance(ctx context.Context, ref spec.Ref, generation uint64) (Seen, error) {
	return c.newest(ctx, ref, generation, func(ctx context.Context, p operator.Peer) (operator.Known, error) {
		return c.op.Glance(ctx, c.cluster, p)
	})
}

func (c *Crew) newest(ctx context.Context, ref spec.Ref, generation uint64, ask func(context.Context, operator.Peer) (operator.Known, error)) (Seen, error) {
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	type result struct {
		node string
		seen operator.Known
		err  error
	}
	results := make(chan result, len(c.peers))
	for _, p := range c.peers {
		go func() {
			seen, err := ask(ctx, p)
			results <- result{p.Name, seen, err}
		}()
	}
	out, answered := Seen{Silent: map[string]error{}}, false
	for range c.peers {
		r := <-results
		if r.err != nil {
			out.Silent[r.node] = r.err
			continue
		}
		if !answered || r.seen.Generations[ref] > out.Generations[ref] {
			out.Known = r.seen
		}
		answered = true
		if generation > 0 && out.Generations[ref] >= generation {
			return out, nil
		}
	}
	switch {
	case answered:
		return out, nil
	case len(c.peers) == 0:
		return out, fmt.Errorf("this run knows of no node of cluster %q that is there", c.cluster)
	default:
		return out, fmt.Errorf("no node of cluster %q answers:\n%s", c.cluster, Lines(out.Silent))
	}
}

// Status returns the cluster as the first node sees it that answers.
func (c *Crew) Status(ctx context.Context) (api.ClusterStatus, error) {
	return first(ctx, c, func(ctx context.Context, p operator.Peer) (api.ClusterStatus, error) {
		return c.op.Status(ctx, c.cluster, p)
	})
}

// first asks every node at once and returns the first answer: a dead one takes its time to show that it is dead.
func first[T any](ctx context.Context, c *Crew, ask func(context.Context, operator.Peer) (T, error)) (T, error) {
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	type result struct {
		value T
		err   error
	}
	results := make(chan result, len(c.peers))
	for _, p := range c.peers {
		go func() {
			value, err := ask(ctx, p)
			results <- result{value, err}
		}()
	}
	var zero T
	if len(c.peers) == 0 {
		return zero, fmt.Errorf("this run knows of no node of cluster %q that is there", c.cluster)
	}
	var errs []error
	for range c.peers {
		r := <-results
		if r.err == nil {
			return r.value, nil
		}
		errs = append(errs, r.err)
	}
	return zero, errors.Join(errs...)
}

// Sign returns the record of an object of this generation.
func (c *Crew) Sign(name string, generation uint64, body spec.Body) (store.Record, error) {
	o, err := spec.NewObject(c.cluster, name, generation, uint64(c.op.Now().UnixMilli()), body)
	if err != nil {
		return store.Record{}, err
	}
	e, err := trust.SignObject(c.key, o)
	return store.ObjectRecord(e), err
}

// Bury returns the record of a removal.
func (c *Crew) Bury(ref spec.Ref, generation uint64) (store.Record, error) {
	e, err := trust.SignObject(c.key, spec.NewTombstone(c.cluster, ref, generation, uint64(c.op.Now().UnixMilli())))
	return store.ObjectRecord(e), err
}

// Tell gives records to every node at once. One that takes them is enough, since it passes them on; that others do not answer is a
// warning. It tells which nodes took them.
func (c *Crew) Tell(ctx context.Context, what string, records ...store.Record) (took []string, diags diag.Diagnostics) {
	failed := make([]error, len(c.peers))
	var all sync.WaitGroup
	for n, p := range c.peers {
		all.Go(func() { failed[n] = c.op.TellOnce(ctx, c.cluster, p, records) })
	}
	all.Wait()
	silent := map[string]error{}
	for n, err := range failed {
		name := c.peers[n].Name
		var outdated *operator.OutdatedError
		var refused *operator.RefusedError
		switch {
		case err == nil:
			took = append(took, name)
		case errors.As(err, &outdated):
			diags.AddError("Changed by another run", err.Error()+".\n\nNothing was overwritten. Refresh and apply again.")
		case errors.As(err, &refused), operator.WrongClock(err):
			diags.AddError("Not accepted", fmt.Sprintf("Node %s did not take %s: %v.", name, what, err))
		case !c.op.Cluster(c.cluster).Removed(name):
			silent[name] = err
		}
	}
	if len(silent) > 0 && len(took) > 0 {
		diags.AddWarning("Nodes do not answer", fmt.Sprintf("%s was told of %s; it is passed on to those that do not answer when they are back:\n%s",
			strings.Join(took, ", "), what, Lines(silent)))
	}
	if len(took) == 0 && !diags.HasError() {
		diags.AddError("No node answers", fmt.Sprintf("Nobody could be told of %s:\n%s\n\nBring one of the nodes back and apply again; nothing was changed.", what, Lines(silent)))
	}
	return took, diags
}

// Lines lists errors by node.
func Lines(errs map[string]error) string {
	lines := make([]string, 0, len(errs))
	for _, name := range slices.Sorted(maps.Keys(errs)) {
		lines = append(lines, fmt.Sprintf("- %s: %v", name, errs[name]))
	}
	return strings.Join(lines, "\n")
}

// OutdatedAt returns the error of an object that another run has changed since the state was read.
func OutdatedAt(at path.Path, what string, have, known uint64) diag.Diagnostic {
	return diag.NewAttributeErrorDiagnostic(at, "Changed by another run", fmt.Sprintf(
		"The nodes hold generation %d of %s, this state knows %d: another run changed it since the plan was made.\n\nNothing was overwritten. Refresh and apply again.", have, what, known))
}

// Overview is Status for a refresh: the answer may be some seconds old.
func (c *Crew) Overview(ctx context.Context) (api.ClusterStatus, error) {
	return c.op.Overview(ctx, c.cluster, c.peers)
}

// StatusBy returns the cluster as that node sees it, or as the first other one does when it does not answer: a node knows of itself
// first.
func (c *Crew) StatusBy(ctx context.Context, node string) (api.ClusterStatus, error) {
	i := slices.IndexFunc(c.peers, func(p operator.Peer) bool { return p.Name == node })
	if i < 0 {
		return c.Status(ctx)
	}
	type answer struct {
		status api.ClusterStatus
		err    error
	}
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	own, others := make(chan answer, 1), make(chan answer, 1)
	go func() {
		status, err := c.op.Status(ctx, c.cluster, c.peers[i])
		own <- answer{status, err}
	}()
	go func() {
		status, err := c.Status(ctx)
		others <- answer{status, err}
	}()
	if a := <-own; a.err == nil {
		return a.status, nil
	}
	a := <-others
	return a.status, a.err
}
