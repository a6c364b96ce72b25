package databasemember

import (
	"context"
	"fmt"

	"github.com/hashicorp/terraform-plugin-framework/diag"
	"github.com/hashicorp/terraform-plugin-framework/path"

	"github.com/atollhq/terraform-provider-atoll/internal/provider/operator"
	"github.com/atollhq/terraform-provider-atoll/internal/spec"
)

// asidePattern is where the engine's driver keeps the data of a member that was removed.
const asidePattern = "/var/lib/atoll-mysql/aside-*"

// remove takes the member out: the nodes are told, and its own, when it is there, is waited for to hand over and stop.
func (t *task) remove(ctx context.Context) diag.Diagnostics {
	var diags diag.Diagnostics
	reg := t.crew.Op().Cluster(t.cluster)
	reg.ForgetMember(t.Database, t.Node)
	reg.Pushed(t.ref, 0)
	seen, err := t.crew.Look(ctx, t.ref, t.memory.Generation)
	if err != nil {
		diags.AddWarning("Nodes do not know", fmt.Sprintf("Member %s is removed from the state, but nobody could be told: %v.\n\n"+
			"Nodes that come back still have it. Import it then and remove it again; nodes that are gone for good need nothing.", t.Name(), err))
		return diags
	}
	t.meet(seen.Known)
	if _, alive := seen.DatabaseMembers[t.Name()]; !alive && seen.Generations[t.ref] >= t.memory.Generation {
		return diags
	}
	t.memory.Generation = operator.Generation(max(t.memory.Generation, seen.Generations[t.ref]), t.crew.Op().Now())
	record, err := t.crew.Bury(t.ref, t.memory.Generation)
	if err != nil {
		diags.AddError("Member was not removed", err.Error()+".")
		return diags
	}
	_, more := t.crew.Tell(ctx, "the removal of member "+t.Name(), record)
	if diags.Append(more...); diags.HasError() {
		return diags
	}
	gone, left := 0, false
	var last look
	diags.Append(t.wait(ctx, "Member has not left", func(l look) verdict {
		last = l
		if gone++; l.alive() {
			gone = 0
		}
		left = l.node.Applied[t.ref] >= t.memory.Generation
		v := verdict{done: left || reg.Removed(t.Node), at: path.Root("node"), doing: "it hands over and stops"}
		if gone >= shortly {
			v.warning = fmt.Sprintf("Node %q is %s. It leaves database %q and stops its server when it comes back.", t.Node, l.node.State, t.Database)
		}
		return v
	})...)
	// When everything is destroyed the others are on their way out, too.
	if n := t.left(last); t.Role == spec.MemberVoter && n > 0 && n < last.db.Votes && !diags.HasError() {
		diags.AddWarning("Votes are missing", t.incomplete(n, last.db.Votes))
	}
	if left && t.Role == spec.MemberVoter && !diags.HasError() {
		diags.AddWarning("Data is kept aside", fmt.Sprintf("The data that node %q had of database %q is in %s on the node. Remove it there when it is not needed any more.", t.Node, t.Database, asidePattern))
	}
	return diags
}

// left returns how many other voting members are described.
func (t *task) left(l look) int {
	n := 0
	for node, m := range l.db.Members {
		if node != t.Node && m.Role == spec.MemberVoter {
			n++
		}
	}
	return n
}
