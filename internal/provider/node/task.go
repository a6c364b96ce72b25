package node

import (
	"context"
	"encoding/json"
	"fmt"
	"maps"

	"github.com/hashicorp/terraform-plugin-framework/diag"
	"github.com/hashicorp/terraform-plugin-framework/path"

	"github.com/atollhq/terraform-provider-atoll/internal/cloud/linode"
	"github.com/atollhq/terraform-provider-atoll/internal/provider/diagnose"
	"github.com/atollhq/terraform-provider-atoll/internal/provider/mark"
	"github.com/atollhq/terraform-provider-atoll/internal/provider/operator"
	"github.com/atollhq/terraform-provider-atoll/internal/provider/reference"
	"github.com/atollhq/terraform-provider-atoll/internal/spec"
	"github.com/atollhq/terraform-provider-atoll/internal/trust"
)

// machine is where a node's machine comes from.
type machine interface {
	// provision brings a machine up that has the payload. It calls save as soon as there is something to lose.
	provision(ctx context.Context, t *task, payload []byte, save saver) diag.Diagnostics
	// read brings the model in line with the machine; gone tells that there is none any more.
	read(ctx context.Context, t *task) (gone bool, diags diag.Diagnostics)
	// update changes the machine in place; the cluster is not its business.
	update(ctx context.Context, t *task, state Model) diag.Diagnostics
	// beforeRemoval tells, before the cluster hears of it, why the machine could not be removed. It changes nothing. What it
	// begins to find out meanwhile goes on until ctx ends.
	beforeRemoval(ctx context.Context, t *task) diag.Diagnostics
	// remove ends the machine, or takes the agent off it. That it is gone already is no error.
	remove(ctx context.Context, t *task) diag.Diagnostics
}

// saver writes the model to state before everything is done, so that a failure leaves nothing behind that nobody knows.
type saver func() diag.Diagnostics

// task is one operation on one node.
type task struct {
	op    *operator.Operator
	key   *trust.SigningKey
	root  trust.Root
	name  string
	model *Model
	// cluster is the cluster object that is to be pushed; only begin with it verified.
	cluster     reference.Signed
	api, health int
	// ticket is the id of the ticket by which the machine must join; empty when an earlier run has issued it.
	ticket string
	// removed is the generation of the removal of this node's predecessor, as far as the nodes that were asked know it.
	removed uint64
	// pushed is set once the node itself has taken its description.
	pushed bool
	// told is set once the node itself has taken the news of its removal, silent when its agent did not answer, and gone when
	// there is no machine any more that could.
	told, silent, gone bool
	// taken is the firewall of an instance that an earlier run may have left.
	taken *linode.Firewall
	// login is the way to a machine that is let go.
	login *login
}

// begin prepares an operation: the key, the cluster's name and ports. Nothing is dialled.
func (r *Resource) begin(ctx context.Context, m *Model) (*task, diag.Diagnostics) {
	c, _, diags := reference.ClusterFrom(ctx, m.Cluster)
	t := &task{op: r.op, name: m.Name.ValueString(), model: m, root: trust.Root{Cluster: c.Name.ValueString()}}
	var more diag.Diagnostics
	t.api, t.health, more = c.PortsFrom(ctx)
	diags.Append(more...)
	key, err := r.op.Key()
	if err != nil {
		diags.Append(diagnose.SigningKey(err))
		return t, diags
	}
	t.key, t.root.Key = key, key.Public()
	return t, diags
}

// verifyCluster reads the signed cluster object of the model.
func (t *task) verifyCluster(ctx context.Context) diag.Diagnostics {
	c, _, diags := reference.ClusterFrom(ctx, t.model.Cluster)
	if diags.HasError() {
		return diags
	}
	var more diag.Diagnostics
	t.cluster, more = c.Verify(t.root, path.Root("cluster"))
	diags.Append(more...)
	return diags
}

func (t *task) ref() spec.Ref { return spec.Ref{Kind: spec.KindNode, Name: t.name} }

func (t *task) mark() string { return mark.Node(t.root.Cluster, t.name) }

func (t *task) machine() machine {
	switch t.model.variant() {
	case spec.MachineLinode:
		return linodeMachine{}
	case spec.MachineManual:
		return seedMachine{}
	case spec.MachineSSH:
	}
	return sshMachine{}
}

// sign returns the signed node object with a generation above known.
func (t *task) sign(n spec.Node, known uint64) (trust.Envelope, uint64, error) {
	now := t.op.Now()
	generation := operator.Generation(known, now)
	o, err := spec.NewObject(t.root.Cluster, t.name, generation, uint64(now.UnixMilli()), n)
	if err != nil {
		return trust.Envelope{}, 0, err
	}
	e, err := trust.SignObject(t.key, o)
	return e, generation, err
}

// memory is what the resource keeps in private state. It is public data that no user needs to see.
type memory struct {
	// Generation is the newest generation of the node object that this state knows.
	Generation uint64 `json:"generation"`
	// Peers are the other nodes and where they are, for a removal when this node does not answer any more.
	Peers map[string][]string `json:"peers,omitempty"`
	// Wall and WallLines are what the last refresh has found out about the node's firewall at its vendor.
	Wall      string   `json:"wall,omitempty"`
	WallLines []string `json:"wall_lines,omitempty"`
}

const memoryKey = "node"

type privateReader interface {
	GetKey(ctx context.Context, key string) ([]byte, diag.Diagnostics)
}

type privateWriter interface {
	SetKey(ctx context.Context, key string, value []byte) diag.Diagnostics
}

func recall(ctx context.Context, p privateReader) (memory, diag.Diagnostics) {
	var m memory
	data, diags := p.GetKey(ctx, memoryKey)
	if len(data) == 0 || diags.HasError() {
		return m, diags
	}
	if err := json.Unmarshal(data, &m); err != nil {
		diags.AddWarning("Private state", fmt.Sprintf("What this state remembers of other nodes cannot be read: %v.", err))
	}
	return m, diags
}

func (m memory) save(ctx context.Context, p privateWriter) diag.Diagnostics {
	data, err := json.Marshal(m)
	if err != nil {
		var diags diag.Diagnostics
		diags.AddError("Private state", err.Error())
		return diags
	}
	return p.SetKey(ctx, memoryKey, data)
}

// others returns where every other node is: what state remembers, overridden by what this run has learnt.
func (t *task) others(m memory) map[string][]string {
	out := maps.Clone(m.Peers)
	if out == nil {
		out = map[string][]string{}
	}
	reg := t.op.Cluster(t.root.Cluster)
	maps.Copy(out, reg.Heard(t.name))
	for _, p := range reg.Others(t.name) {
		out[p.Name] = p.Endpoints
	}
	delete(out, t.name)
	for name := range out {
		if reg.Removed(name) {
			delete(out, name)
		}
	}
	return out
}
