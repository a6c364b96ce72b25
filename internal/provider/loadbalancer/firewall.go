package loadbalancer

import (
	"context"

	"github.com/hashicorp/terraform-plugin-framework/diag"

	"github.com/atollhq/terraform-provider-atoll/internal/provider/cloudfirewall"
)

// settleFirewalls has the firewalls that Atoll keeps before nodes let in what the nodes listen on for load balancers now.
func (c *crew) settleFirewalls(ctx context.Context, leaving bool) diag.Diagnostics {
	nodes := map[string][]string{}
	for _, p := range c.peers {
		nodes[p.Name] = p.Endpoints
	}
	if len(nodes) == 0 {
		return nil
	}
	return cloudfirewall.Settle(ctx, c.op, cloudfirewall.Occasion{Cluster: c.cluster, Nodes: nodes, Leaving: leaving})
}
