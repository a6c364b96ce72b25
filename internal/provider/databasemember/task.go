package databasemember

import (
	"context"
	"encoding/json"
	"fmt"

	"github.com/hashicorp/terraform-plugin-framework/diag"
	"github.com/hashicorp/terraform-plugin-framework/path"
	"github.com/hashicorp/terraform-plugin-log/tflog"

	"github.com/atollhq/terraform-provider-atoll/internal/api"
	"github.com/atollhq/terraform-provider-atoll/internal/provider/crew"
	"github.com/atollhq/terraform-provider-atoll/internal/provider/operator"
	"github.com/atollhq/terraform-provider-atoll/internal/spec"
	"github.com/atollhq/terraform-provider-atoll/internal/trust"
)

// task is one operation on one member.
type task struct {
	part
	crew     *crew.Crew
	ref      spec.Ref
	memory   memory
	patience operator.Patience
	// told is how far the run has told of itself, so that it says each thing once.
	told string
}

// memory is kept beside the state.
type memory struct {
	// Generation is the newest of the member object that is known, 0 for none.
	Generation uint64 `json:"generation"`
	// Peers are the cluster's nodes, so that others can be asked when the member's own is gone.
	Peers map[string][]string `json:"peers,omitempty"`
}

const memoryKey = "member"

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
			diags.AddWarning("Private state", fmt.Sprintf("What was known of the member's nodes cannot be read: %v.", err))
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

func newCrew(op *operator.Operator, p part, known memory) (*crew.Crew, diag.Diagnostics) {
	c, diags := crew.New(op, p.cluster, p.node)
	for name, at := range known.Peers {
		c.Add(operator.Peer{Name: name, Endpoints: at})
	}
	return c, diags
}

// meet notes the nodes that another one has told of.
func (t *task) meet(seen operator.Known) {
	t.crew.AddKnown(seen)
	if peers := seen.Endpoints(""); len(peers) > 0 {
		t.memory.Peers = peers
	}
}

const notTold = "Member was not made"

// push signs the member with the database's key, which only its node can open, and gives it to the nodes. One that an earlier run
// has left is taken over.
func (t *task) push(ctx context.Context, fresh bool) diag.Diagnostics {
	var diags diag.Diagnostics
	if t.node.Identity == "" {
		diags.AddAttributeError(path.Root("node").AtName("identity"), notTold, fmt.Sprintf("Node %q has no identity yet, so the database's key cannot be encrypted to it.\n\nTake the node from atoll_node.", t.Node))
		return diags
	}
	seen, err := t.crew.Look(ctx, t.ref, t.memory.Generation)
	if err != nil {
		diags.AddAttributeError(path.Root("node"), "No node answers", fmt.Sprintf("Nobody can be told of member %s: %v.\n\nBring the node back and apply again.", t.Name(), err))
		return diags
	}
	t.meet(seen.Known)
	newest := seen.Generations[t.ref]
	if !fresh && t.memory.Generation != 0 && newest > t.memory.Generation {
		diags.Append(crew.OutdatedAt(path.Empty(), "member "+t.Name(), newest, t.memory.Generation))
		return diags
	}
	body := t.Member
	if body.Key, err = t.sealed(); err != nil {
		diags.AddAttributeError(path.Root("node").AtName("identity"), notTold, fmt.Sprintf("The database's key cannot be encrypted to node %q: %v.", t.Node, err))
		return diags
	}
	t.memory.Generation = operator.Generation(max(newest, t.memory.Generation), t.crew.Op().Now())
	record, err := t.crew.Sign(t.Name(), t.memory.Generation, body)
	if err != nil {
		diags.AddError(notTold, err.Error()+".")
		return diags
	}
	_, more := t.crew.Tell(ctx, "member "+t.Name(), record)
	diags.Append(more...)
	if !diags.HasError() {
		t.crew.Op().Cluster(t.cluster).Pushed(t.ref, t.memory.Generation)
		tflog.Info(ctx, "nodes were told of the member", map[string]any{"database": t.Database, "node": t.Node, "generation": t.memory.Generation})
	}
	return diags
}

func (t *task) sealed() (string, error) {
	key, err := trust.DatabaseKeyOf(t.crew.Key(), t.cluster, t.Database, t.of.Group)
	if err != nil {
		return "", err
	}
	identity, err := trust.ParsePublicKey(t.node.Identity)
	if err != nil {
		return "", err
	}
	return key.SealTo(identity)
}

// view returns how the member is, nil when no node says.
func (t *task) view(ctx context.Context) *api.DatabaseMemberView {
	status, err := t.crew.Status(ctx)
	if err != nil {
		return nil
	}
	return t.viewOf(status)
}

// overview is view for a refresh: the answer may be some seconds old.
func (t *task) overview(ctx context.Context) *api.DatabaseMemberView {
	status, err := t.crew.Overview(ctx)
	if err != nil {
		return nil
	}
	return t.viewOf(status)
}

func (t *task) viewOf(status api.ClusterStatus) *api.DatabaseMemberView {
	if m, ok := status.Databases[t.Database].Members[t.Node]; ok {
		return &m
	}
	return nil
}
