package node

import (
	"context"
	"fmt"
	"slices"
	"strings"

	"github.com/hashicorp/terraform-plugin-framework/diag"
	"github.com/hashicorp/terraform-plugin-framework/path"

	"github.com/atollhq/terraform-provider-atoll/internal/provider/operator"
	"github.com/atollhq/terraform-provider-atoll/internal/provider/reference"
	"github.com/atollhq/terraform-provider-atoll/internal/topology"
	"github.com/atollhq/terraform-provider-atoll/internal/topology/analysis"
	"github.com/atollhq/terraform-provider-atoll/internal/trust"
)

// apart is what a plan says when a firewall keeps two nodes apart.
const apart = "Nodes kept apart"

// checkApart tells who is kept from the node by a firewall that is written down, or whom it is kept from, among the nodes that are planned
// before it. What is not known yet is checked when it is.
func (r *Resource) checkApart(ctx context.Context, plan Model, c reference.Cluster) diag.Diagnostics {
	n, diags := plan.ToSpec(ctx)
	cluster, name := r.op.Cluster(c.Name.ValueString()), plan.Name.ValueString()
	r.describe(c, cluster)
	barriers := cluster.PlanPlace(name, operator.PlannedPlace{Node: n, Unsure: n.Addresses == nil})
	if diags.HasError() {
		return diags
	}
	var told []analysis.Barrier
	for _, b := range barriers {
		// A pair may be meant to do without UDP, which its atoll_mesh_link says; the data source knows.
		b.Ports = slices.DeleteFunc(slices.Clone(b.Ports), func(p topology.Port) bool {
			return p.Service == topology.ServiceMesh && p.Protocol == topology.UDP && !b.Cuts
		})
		if !b.Accepted && len(b.Ports) > 0 {
			told = append(told, b)
		}
	}
	for len(told) > 0 {
		first := told[0]
		same := func(b analysis.Barrier) bool {
			return b.Node() == first.Node() && b.Side == first.Side && b.Back == first.Back && analysis.Ports(b.Ports) == analysis.Ports(first.Ports)
		}
		diags.Append(apartDiagnostic(name, first, slices.DeleteFunc(slices.Clone(told), func(b analysis.Barrier) bool { return !same(b) })))
		told = slices.DeleteFunc(told, same)
	}
	return diags
}

// describe notes the cluster where no atoll_cluster of this run does, as soon as its signed form is known.
func (r *Resource) describe(c reference.Cluster, cluster *operator.Cluster) {
	key, err := r.op.Key()
	if cluster.Described() != nil || err != nil || !known(c.SignedObject) {
		return
	}
	if s, diags := c.Verify(trust.Root{Cluster: c.Name.ValueString(), Key: key.Public()}, path.Empty()); !diags.HasError() {
		cluster.Describe(s.Cluster)
	}
}

// apartDiagnostic says of one firewall whom it keeps apart at the same ports, on the attribute of the node that is planned.
func apartDiagnostic(name string, first analysis.Barrier, same []analysis.Barrier) diag.Diagnostic {
	message, remedy := first.Text()
	at := path.Root("name")
	if first.Node() == name {
		at = path.Root("firewall")
	}
	detail := strings.ToUpper(message[:1]) + message[1:] + "."
	var others []string
	for _, b := range same[1:] {
		others = append(others, b.Peer())
	}
	if len(others) > 0 {
		detail += fmt.Sprintf(" The same holds for %s.", strings.Join(others, ", "))
	}
	detail += "\n\n" + strings.ToUpper(remedy[:1]) + remedy[1:] + "."
	// Terraform shows only the first of several warnings with one summary.
	summary := fmt.Sprintf("%s: %s and %s", apart, first.Node(), first.Peer())
	if first.Serious() {
		return diag.NewAttributeErrorDiagnostic(at, summary, detail)
	}
	return diag.NewAttributeWarningDiagnostic(at, summary, detail)
}
