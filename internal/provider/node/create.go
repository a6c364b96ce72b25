package node

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"time"

	"github.com/hashicorp/terraform-plugin-framework/diag"
	"github.com/hashicorp/terraform-plugin-framework/path"
	"github.com/hashicorp/terraform-plugin-framework/resource"
	"github.com/hashicorp/terraform-plugin-framework/types"

	"github.com/atollhq/terraform-provider-atoll/internal/platform"
	"github.com/atollhq/terraform-provider-atoll/internal/provider/cloudfirewall"
	"github.com/atollhq/terraform-provider-atoll/internal/provider/diagnose"
	"github.com/atollhq/terraform-provider-atoll/internal/provider/operator"
	"github.com/atollhq/terraform-provider-atoll/internal/spec"
	"github.com/atollhq/terraform-provider-atoll/internal/store"
	"github.com/atollhq/terraform-provider-atoll/internal/topology"
	"github.com/atollhq/terraform-provider-atoll/internal/trust"
)

// ticketLifetime is how long a new machine may take to join; a resumed one may need all of it.
const ticketLifetime = 24 * time.Hour

// Create makes or adopts a machine, waits until it has joined, and makes it known to the other nodes of this run.
func (r *Resource) Create(ctx context.Context, req resource.CreateRequest, resp *resource.CreateResponse) {
	var plan Model
	resp.Diagnostics.Append(req.Plan.Get(ctx, &plan)...)
	if resp.Diagnostics.HasError() {
		return
	}
	timeout, diags := plan.Timeouts.Create(ctx, createTimeout)
	resp.Diagnostics.Append(diags...)
	ctx, cancel := context.WithTimeout(ctx, timeout)
	defer cancel()
	t, diags := r.begin(ctx, &plan)
	resp.Diagnostics.Append(diags...)
	if resp.Diagnostics.HasError() {
		return
	}
	resp.Diagnostics.Append(t.verifyCluster(ctx)...)
	if resp.Diagnostics.HasError() {
		return
	}
	known, diags := t.survey(ctx)
	resp.Diagnostics.Append(diags...)
	resp.Diagnostics.Append(t.chooseAddress(ctx, known)...)
	if resp.Diagnostics.HasError() {
		return
	}
	// Nothing exists before this line.
	mem := memory{Generation: known.generation, Peers: known.endpoints}
	save := func() diag.Diagnostics {
		saved := plan
		saved.settle()
		diags := resp.State.Set(ctx, &saved)
		diags.Append(mem.save(ctx, resp.Private)...)
		return diags
	}
	t.removed = known.generation
	var payload []byte
	if plan.variant() != spec.MachineManual { // whose ticket comes with its seed
		payload, diags = t.payload(ctx, &mem)
		resp.Diagnostics.Append(diags...)
		if resp.Diagnostics.HasError() {
			return
		}
	}
	resp.Diagnostics.Append(t.machine().provision(ctx, t, payload, save)...)
	if resp.Diagnostics.HasError() {
		return
	}
	resp.Diagnostics.Append(t.join(ctx, &mem, save)...)
	if resp.Diagnostics.HasError() {
		return
	}
	resp.Diagnostics.Append(asWarnings(t.observeWall(ctx, false))...)
	resp.Diagnostics.Append(save()...)
}

func (t *task) existsAlready(endpoints []string) diag.Diagnostic {
	at := "HOST:PORT of any node"
	if len(endpoints) > 0 {
		at = endpoints[0]
	}
	return diag.NewAttributeErrorDiagnostic(path.Root("name"), "Node exists already", fmt.Sprintf(
		"Cluster %q has a node %q that this state does not know: another run made it, or this state lost it. Nothing was changed.\n\n"+
			"Take it over with `terraform import ADDRESS '%s@%s'`, or give this one another name. "+
			"If that cluster is gone and only its machine is left, `atolld uninstall --purge` on the machine frees it.",
		t.root.Cluster, t.name, clusterID(t.root.Cluster, t.name), at))
}

// chooseAddress settles the mesh address and checks the node against what is known of the others.
func (t *task) chooseAddress(ctx context.Context, around surroundings) diag.Diagnostics {
	reg, cidr := t.op.Cluster(t.root.Cluster), t.cluster.Cluster.MeshCIDR
	if !known(t.model.MeshAddress) {
		addr, err := reg.Allocate(cidr, t.name, around.mesh)
		if err != nil {
			at, remedy := path.Root("mesh_address"), ""
			if errors.Is(err, topology.ErrCIDRFull) {
				at, remedy = path.Root("cluster").AtName("mesh_cidr"), "\n\nUse a larger mesh_cidr (a new cluster), or remove nodes."
			}
			return diag.Diagnostics{diag.NewAttributeErrorDiagnostic(at, invalid, "Cannot "+err.Error()+"."+remedy)}
		}
		t.model.MeshAddress = types.StringValue(addr.String())
	}
	n, diags := t.model.ToSpec(ctx)
	if owner, taken := around.mesh[n.MeshAddress]; taken {
		diags.AddAttributeError(path.Root("mesh_address"), invalid, fmt.Sprintf(
			"mesh_address %s is the mesh address of node %q.\n\nGive this node another one, or leave it out to have one chosen.", n.MeshAddress, owner))
	}
	ps, _ := reg.Plan(cidr, t.name, operator.Planned{MeshAddress: n.MeshAddress, Addresses: n.Addresses})
	diags.Append(clusterProblems(t.name, ps)...)
	diags.Append(diagnose.Problems(invalid, path.Empty(), nil, n.Validate())...)
	return diags
}

// payload issues the ticket and returns the first-boot payload, which is secret.
func (t *task) payload(ctx context.Context, mem *memory) ([]byte, diag.Diagnostics) {
	const failed = "First-boot payload"
	n, diags := t.model.ToSpec(ctx)
	seeds := slices.Clone(t.cluster.Cluster.Seeds)
	for _, p := range t.op.Cluster(t.root.Cluster).Others(t.name) {
		seeds = append(seeds, p.Endpoints...)
	}
	slices.Sort(seeds)
	fail := func(err error) ([]byte, diag.Diagnostics) {
		diags.AddError(failed, err.Error()+".")
		return nil, diags
	}
	ticket, err := trust.IssueTicket(t.key, trust.TicketRequest{
		Cluster: t.root.Cluster, Node: t.name, Lifetime: ticketLifetime, Seeds: slices.Compact(seeds), Now: t.ticketTime(mem.Generation),
	})
	if err != nil {
		return fail(err)
	}
	object, generation, err := t.sign(n, mem.Generation)
	if err != nil {
		return fail(err)
	}
	payload, err := platform.NewPayload(t.root, ticket, []trust.Envelope{t.cluster.Envelope, object})
	if err != nil {
		return fail(err)
	}
	mem.Generation, t.ticket = generation, ticket.Ticket.ID
	return payload, diags
}

// join waits for the agent, pins its identity, makes it known, and waits until the node is as described.
func (t *task) join(ctx context.Context, mem *memory, save saver) diag.Diagnostics {
	const failed = "Node did not join"
	addresses, diags := t.addresses(ctx)
	endpoints := spec.Node{Addresses: addresses}.Endpoints(t.api)
	agent, err := t.op.Agent(t.root.Cluster, operator.Peer{Name: t.name, Endpoints: endpoints, Ticket: t.ticket})
	if err != nil {
		diags.AddError(failed, err.Error()+".")
		return diags
	}
	defer agent.Close()
	identity, err := t.identify(ctx, agent, addresses)
	if err != nil {
		diags.AddError(failed, t.notReady(err, addresses))
		return diags
	}
	t.model.Identity = types.StringValue(identity.String())
	n, more := t.model.ToSpec(ctx)
	diags.Append(more...)
	object, generation, err := t.sign(n, mem.Generation)
	if err != nil {
		diags.AddError(failed, err.Error()+".")
		return diags
	}
	records := []store.Record{store.ObjectRecord(t.cluster.Envelope), store.ObjectRecord(object)}
	if len(addresses) == 0 {
		err = t.tellOthers(ctx, records)
	} else {
		err = operator.Push(ctx, agent, t.name, records)
	}
	if err != nil {
		t.model.Identity = types.StringNull()
		diags.Append(t.pushFailed(err))
		return diags
	}
	mem.Generation = generation
	if diags.Append(save()...); diags.HasError() {
		return diags
	}
	if len(addresses) == 0 {
		if diags.Append(t.meet(ctx, agent, addresses)...); diags.HasError() {
			return diags
		}
	}
	diags.Append(t.introduce(ctx, mem, endpoints)...)
	diags.Append(t.settleWalls(ctx, *mem, cloudfirewall.Occasion{Fresh: t.name})...)
	if _, err := t.op.AwaitConditions(ctx, agent, t.name, addresses, t.health, spec.ConditionJoined, spec.ConditionApplied); err != nil {
		diags.AddError("Node is not ready", t.notReady(err, addresses))
		return diags
	}
	diags.Append(asWarnings(t.awaitFilter(ctx, Model{HostFirewall: types.ObjectNull(hostFirewallTypes())}, mem.Generation))...)
	return diags
}

func (t *task) addresses(ctx context.Context) ([]string, diag.Diagnostics) {
	n, diags := t.model.ToSpec(ctx)
	return n.Addresses, diags
}

// introduce makes the node known to the others of this run, and remembers where they are.
func (t *task) introduce(ctx context.Context, mem *memory, endpoints []string) diag.Diagnostics {
	var diags diag.Diagnostics
	seen, err := t.op.Look(ctx, t.root.Cluster, t.name, endpoints, t.model.Identity.ValueString())
	if err != nil {
		diags.AddWarning("Node was not introduced", fmt.Sprintf("Node %q has joined, but does not tell what it holds: %v.", t.name, err))
		return diags
	}
	self := operator.Peer{
		Name: t.name, Endpoints: endpoints, Identity: t.model.Identity.ValueString(), Records: seen.Introduction(t.name),
	}
	t.op.Cluster(t.root.Cluster).Learn(self)
	reg := t.op.Cluster(t.root.Cluster)
	others, failed := reg.Others(t.name), t.op.Introduce(ctx, t.root.Cluster, self)
	if len(others) > 0 && len(failed) == len(others) {
		diags.AddError("Node is alone", fmt.Sprintf(
			"Node %q has joined cluster %q, but could not be made known to any of its other nodes:\n%s\n\n"+
				"The agents listen on port %d (TCP), which must be reachable from here.", t.name, t.root.Cluster, reasons(failed), t.api))
		return diags
	}
	if len(others) == 0 && !reg.PlansOthers(t.name) {
		diags.AddAttributeWarning(path.Root("cluster"), "Node knows no other node", fmt.Sprintf(
			"Node %q is the only one of cluster %q that this run knows of. If there are others, make it known to them: give the cluster seeds "+
				"(`host:port` of agents whose addresses you know beforehand), or write an atoll_mesh_link to one of them.", t.name, t.root.Cluster))
	}
	for name, err := range failed {
		diags.AddWarning("Node was not introduced", fmt.Sprintf(
			"Nodes %q and %q could not be made known to each other: %v.\n\nThey find each other through any node that knows both, or by an atoll_mesh_link between them.", t.name, name, err))
	}
	mem.Peers = t.others(memory{Peers: seen.Endpoints(t.name)})
	return diags
}

func (t *task) notReady(err error, addresses []string) string {
	if t.model.variant() == spec.MachineManual {
		return fmt.Sprintf("%v.\n\nThe node has joined and is marked tainted. If it only needs longer, run `terraform untaint` and apply again: "+
			"without that the next apply removes it, and its machine needs a new seed (`%s`). Ports %d and %d (TCP) of %v must be reachable from here.",
			err, t.seedCommand(), t.api, t.health, addresses)
	}
	return fmt.Sprintf("%v.\n\nThe machine is kept and marked tainted: the next apply removes it and makes it again. "+
		"Ports %d and %d (TCP) of %v must be reachable from here. If it only needs longer, raise timeouts.create and run `terraform untaint` before.",
		err, t.api, t.health, addresses)
}

// pushFailed returns the diagnostic for an object that the node did not take.
func (t *task) pushFailed(err error) diag.Diagnostic {
	var outdated *operator.OutdatedError
	if errors.As(err, &outdated) {
		return diag.NewErrorDiagnostic("Changed by another run", err.Error()+
			".\n\nNothing was overwritten. Make sure that only one state describes this cluster, then refresh and apply again. "+
			"If it is the cluster object that is older here, `terraform apply -replace` of the atoll_cluster signs it anew; its nodes are kept.")
	}
	return diag.NewErrorDiagnostic("Node was not updated", err.Error()+".")
}
