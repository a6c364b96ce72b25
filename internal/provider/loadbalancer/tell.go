package loadbalancer

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"maps"
	"slices"
	"strings"
	"sync"

	"github.com/hashicorp/terraform-plugin-framework/diag"
	"github.com/hashicorp/terraform-plugin-framework/path"

	"github.com/atollhq/terraform-provider-atoll/internal/provider/diagnose"
	"github.com/atollhq/terraform-provider-atoll/internal/provider/operator"
	"github.com/atollhq/terraform-provider-atoll/internal/spec"
	"github.com/atollhq/terraform-provider-atoll/internal/store"
	"github.com/atollhq/terraform-provider-atoll/internal/trust"
)

// crew are the nodes of a load balancer, in one operation.
type crew struct {
	op      *operator.Operator
	key     *trust.SigningKey
	cluster string
	ref     spec.Ref
	peers   []operator.Peer
	memory  memory
	// waited tells that nodes were waited for to find themselves fit, which is done once.
	waited bool
	// awaited is what this run has waited for to be in effect.
	awaited string
	// private keeps memory beside the state.
	private privateWriter
}

// memory is what is known of the object at the nodes. Its zero value is that there is none.
type memory struct {
	// Generation is the newest that is known, and Told which message it had; Told is empty after the object was deleted.
	Generation uint64 `json:"generation"`
	Told       string `json:"told,omitempty"`
	// Replaced are the ids of certificates that others have replaced and that are still to be revoked.
	Replaced []string `json:"replaced,omitempty"`
}

// news returns the memory with another generation and message.
func (m memory) news(generation uint64, told string) memory {
	m.Generation, m.Told = generation, told
	return m
}

const memoryKey = "nodes"

type privateReader interface {
	GetKey(ctx context.Context, key string) ([]byte, diag.Diagnostics)
}

type privateWriter interface {
	SetKey(ctx context.Context, key string, value []byte) diag.Diagnostics
}

func recall(ctx context.Context, p privateReader) (memory, diag.Diagnostics) {
	data, diags := p.GetKey(ctx, memoryKey)
	var m memory
	if len(data) > 0 {
		if err := json.Unmarshal(data, &m); err != nil {
			diags.AddWarning("Private state", fmt.Sprintf("What the nodes know of the load balancer cannot be read: %v.", err))
		}
	}
	return m, diags
}

func (c *crew) remember(ctx context.Context) diag.Diagnostics {
	data, err := json.Marshal(c.memory)
	if err != nil {
		return diag.Diagnostics{diag.NewErrorDiagnostic("Private state", err.Error())}
	}
	return c.private.SetKey(ctx, memoryKey, data)
}

// crew returns the nodes that models describe, the newer one last: an operation on a load balancer concerns those that it had too.
func (r *Resource) crew(ctx context.Context, known memory, private privateWriter, models ...*Model) (*crew, diag.Diagnostics) {
	c := &crew{op: r.op, memory: known, private: private}
	peers := map[string]operator.Peer{}
	var diags diag.Diagnostics
	for _, m := range models {
		v, more := m.view(ctx)
		diags.Append(more...)
		c.ref = spec.Ref{Kind: spec.KindLoadBalancer, Name: m.Hostname.ValueString()}
		for _, e := range v.endpoints {
			if e.cluster == "" || len(e.apis) == 0 {
				continue
			}
			c.cluster = e.cluster
			peers[e.name] = operator.Peer{Name: e.name, Endpoints: e.apis, Identity: e.identity}
		}
	}
	for _, name := range slices.Sorted(maps.Keys(peers)) {
		c.peers = append(c.peers, peers[name])
	}
	return c, diags
}

// sign prepares to give orders.
func (c *crew) sign() diag.Diagnostics {
	if c.key != nil {
		return nil
	}
	key, err := c.op.Key()
	if err != nil {
		return diag.Diagnostics{diagnose.SigningKey(err)}
	}
	c.key = key
	return nil
}

// tell signs a message and gives it to every node, unless they have it. One node that takes it is enough: it passes it on.
func (c *crew) tell(ctx context.Context, m message) diag.Diagnostics {
	mark, err := m.fingerprint()
	if err != nil {
		return diag.Diagnostics{diag.NewErrorDiagnostic(notTold, err.Error()+".")}
	}
	if mark == c.memory.Told {
		return nil
	}
	body, diags := m.sealed()
	diags.Append(c.sign()...)
	if diags.HasError() {
		return diags
	}
	generation, more := c.next(ctx)
	if diags.Append(more...); diags.HasError() {
		return diags
	}
	o, err := spec.NewObject(c.cluster, c.ref.Name, generation, uint64(c.op.Now().UnixMilli()), body)
	if err != nil {
		diags.AddError(notTold, err.Error()+".")
		return diags
	}
	took, more := c.push(ctx, o)
	diags.Append(more...)
	if diags.HasError() {
		return diags
	}
	if !took {
		diags.AddAttributeError(path.Root("nodes"), notTold, fmt.Sprintf(
			"No node of %s answers, so none knows of application_check, quick_removal or local_proxy.\n\nBring one back and apply again; what is at Cloudflare was not changed beyond that.", c.ref.Name))
		return diags
	}
	c.memory = c.memory.news(generation, mark)
	diags.Append(c.remember(ctx)...)
	return diags
}

const notTold = "Nodes were not told"

// next returns the generation of the next object. An object that another run has pushed meanwhile is not overwritten.
func (c *crew) next(ctx context.Context) (uint64, diag.Diagnostics) {
	var diags diag.Diagnostics
	newest := c.memory.Generation
	if seen, ok := c.look(ctx); ok {
		if g := seen.Generations[c.ref]; g > newest {
			if newest != 0 {
				diags.AddError("Changed by another run", fmt.Sprintf(
					"The nodes hold generation %d of load balancer %s, this state knows %d: another run changed it since the plan was made.\n\nNothing was overwritten. Refresh and apply again.", g, c.ref.Name, newest))
			}
			newest = g
		}
	}
	return operator.Generation(newest, c.op.Now()), diags
}

// look reads what the nodes hold, by the first that answers.
func (c *crew) look(ctx context.Context) (operator.Known, bool) {
	return first(ctx, c.peers, func(ctx context.Context, p operator.Peer) (operator.Known, error) {
		return c.op.Look(ctx, c.cluster, p.Name, p.Endpoints, p.Identity)
	})
}

// first asks every node at once and returns the first answer: a dead one takes its time to show that it is dead.
func first[T any](ctx context.Context, peers []operator.Peer, ask func(context.Context, operator.Peer) (T, error)) (answer T, ok bool) {
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	type result struct {
		value T
		err   error
	}
	results := make(chan result, len(peers))
	for _, p := range peers {
		go func() {
			value, err := ask(ctx, p)
			results <- result{value, err}
		}()
	}
	for range peers {
		if r := <-results; r.err == nil {
			return r.value, true
		}
	}
	return answer, false
}

// push gives an object to every node at once and tells whether one took it.
func (c *crew) push(ctx context.Context, o spec.Object) (took bool, diags diag.Diagnostics) {
	e, err := trust.SignObject(c.key, o)
	if err != nil {
		diags.AddError(notTold, err.Error()+".")
		return false, diags
	}
	records := []store.Record{store.ObjectRecord(e)}
	failed := make([]error, len(c.peers))
	var all sync.WaitGroup
	for n, p := range c.peers {
		all.Go(func() { failed[n] = c.op.TellOnce(ctx, c.cluster, p, records) })
	}
	all.Wait()
	var silent []string
	for n, err := range failed {
		name := c.peers[n].Name
		var outdated *operator.OutdatedError
		var refused *operator.RefusedError
		switch {
		case err == nil:
			took = true
		case errors.As(err, &outdated):
			diags.AddError("Changed by another run", err.Error()+".\n\nNothing was overwritten. Refresh and apply again.")
		case errors.As(err, &refused), operator.WrongClock(err):
			diags.AddAttributeError(path.Root("nodes"), notTold, fmt.Sprintf("Node %s did not take it: %v.", name, err))
		case !c.op.Cluster(c.cluster).Removed(name):
			silent = append(silent, fmt.Sprintf("%s: %v", name, err))
		}
	}
	if len(silent) > 0 && took {
		diags.AddAttributeWarning(path.Root("nodes"), "Nodes do not answer", fmt.Sprintf(
			"The others pass on what they are to know of %s:\n- %s", c.ref.Name, strings.Join(silent, "\n- ")))
	}
	return took, diags
}

// dismiss deletes the object. That no node answers is no reason to fail: where there are no nodes there is no object.
func (c *crew) dismiss(ctx context.Context) diag.Diagnostics {
	if c.memory.Told == "" || len(c.peers) == 0 {
		return nil
	}
	newest := c.memory.Generation
	seen, ok := c.look(ctx)
	if _, alive := seen.LoadBalancers[c.ref.Name]; c.memory.Told == toldByOther && !alive {
		// Nobody knows that there is one. An operator who has none needs no key for it.
		c.memory = c.memory.news(newest, "")
		return c.remember(ctx)
	}
	if ok {
		newest = max(newest, seen.Generations[c.ref])
	}
	diags := c.sign()
	if diags.HasError() {
		return diags
	}
	now := c.op.Now()
	generation := operator.Generation(newest, now)
	took, more := c.push(ctx, spec.NewTombstone(c.cluster, c.ref, generation, uint64(now.UnixMilli())))
	diags.Append(more...)
	if diags.HasError() {
		return diags
	}
	if !took && slices.ContainsFunc(c.peers, func(p operator.Peer) bool { return !c.op.Cluster(c.cluster).Removed(p.Name) }) {
		diags.AddWarning("Nodes do not know", fmt.Sprintf(
			"None of the nodes of %s answers, so those that come back still have what they were told of it. "+
				"Make the load balancer again once they are back, and remove it then; nodes that are gone for good need nothing.", c.ref.Name))
	}
	c.memory = c.memory.news(generation, "")
	diags.Append(c.remember(ctx)...)
	diags.Append(c.settleFirewalls(ctx, true)...)
	return diags
}
