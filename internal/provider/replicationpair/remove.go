package replicationpair

import (
	"context"
	"fmt"

	"github.com/hashicorp/terraform-plugin-framework/diag"
	"github.com/hashicorp/terraform-plugin-framework/path"

	"github.com/atollhq/terraform-provider-atoll/internal/provider/operator"
)

const notRemoved = "Pair was not removed"

// remove tells the nodes that the pair is gone and waits until those that are there have stopped.
func (t *task) remove(ctx context.Context) diag.Diagnostics {
	var diags diag.Diagnostics
	t.registry().LeavePair(t.name)
	t.registry().Pushed(t.ref(), 0)
	if diags.Append(t.bury(ctx)...); diags.HasError() {
		return diags
	}
	diags.AddWarning("Files stay", fmt.Sprintf("Pair %q is not kept equal any more. Its files stay on both nodes, %s: remove there what is not needed.", t.name, describe(t.body)))
	return diags
}

func (t *task) bury(ctx context.Context) diag.Diagnostics {
	var diags diag.Diagnostics
	seen, err := t.crew.Look(ctx, t.ref(), t.memory.Generation)
	if err != nil {
		diags.AddWarning("Nodes do not know", fmt.Sprintf("Pair %s is removed from the state, but nobody could be told: %v.\n\n"+
			"Nodes that come back still have it. Import it then and remove it again; nodes that are gone for good need nothing.", t.id(), err))
		return diags
	}
	t.meet(seen.Known)
	if _, alive := seen.Pairs[t.name]; !alive && seen.Generations[t.ref()] >= t.memory.Generation {
		return diags
	}
	t.memory.Generation = operator.Generation(max(t.memory.Generation, seen.Generations[t.ref()]), t.crew.Op().Now())
	record, err := t.crew.Bury(t.ref(), t.memory.Generation)
	if err != nil {
		diags.AddError(notRemoved, err.Error()+".")
		return diags
	}
	_, more := t.crew.Tell(ctx, "the removal of pair "+t.name, record)
	if diags.Append(more...); diags.HasError() {
		return diags
	}
	diags.Append(t.wait(ctx, "Pair has not stopped", t.stopped)...)
	return diags
}

// stopped tells whether the nodes that are there have put the removal into effect.
func (t *task) stopped(l look) verdict {
	v := verdict{done: true, doing: "the nodes stop"}
	for _, e := range t.ends {
		name := e.node.Name
		if _, described := l.status.Nodes[name]; !described || t.registry().Removed(name) || l.status.Nodes[name].Applied[t.ref()] >= t.memory.Generation {
			continue
		}
		v.done = false
		if l.gone(name) {
			v.kind, v.patience, v.at = "gone", shortly, path.Root("nodes")
			v.warning = fmt.Sprintf("Node %q is %s. It stops when it comes back and hears of it.", name, l.status.Nodes[name].State)
		}
	}
	return v
}
