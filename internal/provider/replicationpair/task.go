package replicationpair

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"sync"

	"github.com/hashicorp/terraform-plugin-framework/diag"
	"github.com/hashicorp/terraform-plugin-framework/path"
	"github.com/hashicorp/terraform-plugin-framework/types"
	"github.com/hashicorp/terraform-plugin-log/tflog"

	"github.com/atollhq/terraform-provider-atoll/internal/api"
	"github.com/atollhq/terraform-provider-atoll/internal/provider/crew"
	"github.com/atollhq/terraform-provider-atoll/internal/provider/diagnose"
	"github.com/atollhq/terraform-provider-atoll/internal/provider/operator"
	"github.com/atollhq/terraform-provider-atoll/internal/spec"
	"github.com/atollhq/terraform-provider-atoll/internal/store"
	"github.com/atollhq/terraform-provider-atoll/internal/topology"
)

// task is one operation on one pair.
type task struct {
	pair
	crew     *crew.Crew
	memory   memory
	patience operator.Patience
	// fresh tells that the pair is new: whatever its nodes say of it is said of what they were told now.
	fresh bool
	// told is how far the run has told of itself, so that it says each thing once.
	told string
}

// memory is kept beside the state.
type memory struct {
	// Generation is the newest of the pair object that is known, 0 for none.
	Generation uint64 `json:"generation"`
	// Peers are the cluster's nodes, so that others can be asked when the pair's own are gone.
	Peers map[string][]string `json:"peers,omitempty"`
}

const memoryKey = "pair"

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
			diags.AddWarning("Private state", fmt.Sprintf("What was known of the pair's nodes cannot be read: %v.", err))
		}
	}
	return m, diags
}

func (m memory) save(ctx context.Context, p privateWriter) diag.Diagnostics {
	data, err := json.Marshal(m)
	if err != nil {
		return diag.Diagnostics{diag.NewErrorDiagnostic("Private state", err.Error())}
	}
	return p.SetKey(ctx, memoryKey, data)
}

func newCrew(op *operator.Operator, p *pair, remembered memory) (*crew.Crew, diag.Diagnostics) {
	c, diags := crew.New(op, p.cluster, p.peers()...)
	for name, at := range remembered.Peers {
		c.Add(operator.Peer{Name: name, Endpoints: at})
	}
	return c, diags
}

func stringOf(s string) types.String { return types.StringValue(s) }

// meet notes the nodes that another one has told of.
func (t *task) meet(seen operator.Known) {
	t.crew.AddKnown(seen)
	if peers := seen.Endpoints(""); len(peers) > 0 {
		t.memory.Peers = peers
	}
}

func (t *task) registry() *operator.Cluster { return t.crew.Op().Cluster(t.cluster) }

const notMade = "Pair was not made"

// sides is what the pair's own nodes hold.
type sides struct {
	// newest is what the one holds that knows the newest of the pair.
	newest operator.Known
	// introductions make the nodes known to each other.
	introductions []store.Record
	silent        map[string]error
}

// lookAtSides asks both nodes at once.
func (t *task) lookAtSides(ctx context.Context) sides {
	out := sides{silent: map[string]error{}}
	var mu sync.Mutex
	var both sync.WaitGroup
	for _, e := range t.ends {
		both.Go(func() {
			seen, err := t.crew.Op().Look(ctx, t.cluster, e.node.Name, e.node.Endpoints, e.node.Identity)
			mu.Lock()
			defer mu.Unlock()
			if err != nil {
				out.silent[e.node.Name] = err
				return
			}
			if out.newest.Generations == nil || seen.Generations[t.ref()] > out.newest.Generations[t.ref()] {
				out.newest = seen
			}
			out.introductions = append(out.introductions, seen.Introduction(e.node.Name)...)
		})
	}
	both.Wait()
	return out
}

// push makes the nodes known to each other and tells them of the pair, in which nothing may clash with another one that they have.
// Save is called before the first node hears of it.
func (t *task) push(ctx context.Context, fresh bool, save func() diag.Diagnostics) diag.Diagnostics {
	t.fresh = fresh
	s := t.lookAtSides(ctx)
	var diags diag.Diagnostics
	if d, ok := diagnose.Interrupted(notMade, path.Root("nodes"), "the nodes were asked what they have", ctx.Err()); ok {
		return diag.Diagnostics{d}
	}
	if len(s.silent) > 0 && (fresh || len(s.silent) == len(t.ends)) {
		for _, e := range t.ends {
			if err := s.silent[e.node.Name]; err != nil {
				diags.AddAttributeError(e.at().AtName("node"), notMade, fmt.Sprintf("Node %q does not answer: %v.\n\n%s", e.node.Name, err, mustBeUp(fresh)))
			}
		}
		return diags
	}
	t.meet(s.newest)
	if diags.Append(t.clearWay(ctx, s.newest)...); diags.HasError() {
		return diags
	}
	have, alive := s.newest.Pairs[t.name]
	newest := s.newest.Generations[t.ref()]
	switch {
	case fresh && alive && !sameTrees(have, t.body):
		diags.AddAttributeError(path.Root("name"), notMade, fmt.Sprintf("Cluster %q has a pair %q already, of %s.\n\nChoose another name, or import it: terraform import ADDRESS '%s@HOST:PORT'.",
			t.cluster, t.name, describe(have), t.id()))
		return diags
	case !fresh && t.memory.Generation != 0 && newest > t.memory.Generation:
		diags.Append(crew.OutdatedAt(path.Empty(), "pair "+t.name, newest, t.memory.Generation))
		return diags
	}
	record := store.ObjectRecord(s.newest.Signed[t.ref()])
	if alive && equal(have, t.body) {
		// Whoever does not have it gets what the others have: a node that was made again.
		t.memory.Generation = newest
	} else {
		t.memory.Generation = operator.Generation(max(newest, t.memory.Generation), t.crew.Op().Now())
		var err error
		if record, err = t.crew.Sign(t.name, t.memory.Generation, t.body); err != nil {
			diags.AddError(notMade, err.Error()+".")
			return diags
		}
	}
	if diags.Append(save()...); diags.HasError() {
		return diags
	}
	t.introduce(ctx, s)
	_, more := t.crew.Tell(ctx, "pair "+t.name, record)
	if d, ok := diagnose.Interrupted(notMade, path.Root("nodes"), "the nodes were told of it", ctx.Err()); ok && more.HasError() {
		return append(diags, d)
	}
	if diags.Append(more...); !diags.HasError() {
		t.registry().Pushed(t.ref(), t.memory.Generation)
		tflog.Info(ctx, "nodes were told of the pair", map[string]any{"pair": t.name, "generation": t.memory.Generation})
	}
	return diags
}

func mustBeUp(fresh bool) string {
	if fresh {
		return "Both nodes must be up when a pair is made: bring it back and apply again."
	}
	return "Bring one of the nodes back and apply again; nothing was changed."
}

// introduce makes the nodes known to each other. That one knows something newer of the other is as good, and what fails here shows
// when the nodes do not reach each other.
func (t *task) introduce(ctx context.Context, s sides) {
	var both sync.WaitGroup
	for _, e := range t.ends {
		if s.silent[e.node.Name] != nil {
			continue
		}
		both.Go(func() {
			err := t.crew.Op().TellOnce(ctx, t.cluster, e.node, s.introductions)
			var outdated *operator.OutdatedError
			if err != nil && !errors.As(err, &outdated) {
				tflog.Warn(ctx, "a node could not be told of the other", map[string]any{"pair": t.name, "node": e.node.Name, "error": err.Error()})
			}
		})
	}
	both.Wait()
}

// clearWay waits until no other pair that the nodes have is in the way: another resource of this run may be about to remove or change
// it, in whatever order.
func (t *task) clearWay(ctx context.Context, seen operator.Known) diag.Diagnostics {
	var diags diag.Diagnostics
	ctx, cancel := context.WithTimeout(ctx, t.patience.Effect)
	defer cancel()
	for {
		problems := topology.PairProblems(seen.Pairs, t.name, t.body)
		if len(problems) == 0 {
			return nil
		}
		if !operator.Pause(ctx, t.patience.Poll) {
			for _, problem := range problems {
				diags.Append(t.clash(problem, diag.NewAttributeErrorDiagnostic))
			}
			return diags
		}
		if s := t.lookAtSides(ctx); len(s.silent) == 0 {
			seen = s.newest
		}
	}
}

// equal tells whether two descriptions say the same.
func equal(a, b spec.Pair) bool {
	one, err := json.Marshal(a)
	other, failed := json.Marshal(b)
	return err == nil && failed == nil && string(one) == string(other)
}

// sameTrees tells whether two descriptions are of the same trees.
func sameTrees(a, b spec.Pair) bool {
	return equal(spec.Pair{Ends: a.Ends}, spec.Pair{Ends: b.Ends})
}

func describe(p spec.Pair) string {
	text := ""
	for _, node := range p.Nodes() {
		if text != "" {
			text += " and "
		}
		text += p.Ends[node].Path + " on " + node
	}
	return text
}

// view returns how the pair is, nil when no node says.
func (t *task) view(ctx context.Context) *api.PairView {
	status, err := t.crew.StatusBy(ctx, t.body.Leader)
	if err != nil {
		return nil
	}
	return t.viewOf(status)
}

// overview is view for a refresh: the answer may be some seconds old.
func (t *task) overview(ctx context.Context) *api.PairView {
	status, err := t.crew.Overview(ctx)
	if err != nil {
		return nil
	}
	return t.viewOf(status)
}

func (t *task) viewOf(status api.ClusterStatus) *api.PairView {
	if v, ok := status.Pairs[t.name]; ok {
		return &v
	}
	return nil
}
