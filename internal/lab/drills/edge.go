//go:build linux

package drills

import (
	"context"
	"fmt"
	"maps"
	"slices"
	"strings"
	"time"

	"github.com/atollhq/terraform-provider-atoll/internal/lab"
	"github.com/atollhq/terraform-provider-atoll/internal/lab/cloudflare"
	"github.com/atollhq/terraform-provider-atoll/internal/lab/demo"
	"github.com/atollhq/terraform-provider-atoll/internal/lab/network"
)

// edgeHost is what the nodes of an edge's cluster serve together.
const edgeHost = "www.example.com"

// edgeClusterName is what the stack calls the cluster.
const edgeClusterName = "web"

// removalObjective is how soon after its death a node must be out of service at the vendor.
const removalObjective = 3 * time.Second

// website makes the stack make a load balancer. The monitor is as slow as the vendor's cheapest plan has it, so what is quick is not
// the monitor; visitors come to every site.
const website = `TF_VAR_website={ hostname = "` + edgeHost + `", zone = "example.com", interval = 60, steering = "random" }`

// watchedWebsite is the same with a monitor that asks every ten seconds: where the cluster cannot agree that a node is to be taken out,
// it is by the monitor that the edge learns of a node that serves nobody well.
const watchedWebsite = `TF_VAR_website={ hostname = "` + edgeHost + `", zone = "example.com", interval = 10, steering = "random" }`

// edgeDrills are what may happen to the nodes behind an edge.
func edgeDrills() []Drill {
	machines := []lab.Machine{
		{Name: "hk1", Site: network.SiteColo}, {Name: "hk2", Site: network.SiteVPS}, {Name: "hk3", Site: network.SiteVPS},
	}
	three := edgeCluster("three nodes behind an edge", website, nil, "hk1", "hk2", "sg1")
	four := edgeCluster("four nodes behind an edge", website, machines, "hk1", "hk2", "hk3", "sg1")
	data := withDatabase(edgeCluster("three nodes with a database behind an edge", watchedWebsite, nil, "hk1", "hk2", "sg1"))
	halves := withDatabase(edgeCluster("four nodes with a database behind an edge", watchedWebsite, machines, "hk1", "hk2", "hk3", "sg1"))
	return []Drill{
		edgePowerCut(three), edgeCutOff(three), edgeApplicationKilled(three), edgeApplicationHangs(three), edgeMidRequest(three),
		edgeProxyKilled(three), edgeAgentKilled(three),
		edgeDrain(three), edgeMaintenance(three),
		edgeUnwellEverywhere(three), edgePartitionOneTwo(three), edgeLostMajority(three),
		edgeAgentRestarts(three), edgeRateLimited(three),
		edgePartitionTwoTwo(four),
		edgeSessions(four, "edge/sessions", 20*time.Second), long(edgeSessions(four, "edge/sessions-five-minutes", 5*time.Minute)),
		edgeRouterStopped(data), edgeRouterStuck(data), edgeRoutersStopped(data), edgeDatabaseCutOff(data), edgeHalvesOfADatabase(halves),
	}
}

// long marks a drill that takes minutes more than others.
func long(d Drill) Drill {
	d.Long = true
	return d
}

// edgeCluster are nodes that serve the demo's application behind the edge, with all that the stack has for it. Site is the variable
// that says how. Machines are those of the lab when nil; sg1 is a Linode.
func edgeCluster(name, site string, machines []lab.Machine, nodes ...string) *Cluster {
	c := &Cluster{Name: name, Machines: machines}
	if machines != nil {
		c.Env = append(c.Env, "TF_VAR_machines="+machinesVariable(machines))
	}
	c.Prepare = func(ctx context.Context, f *Field) error {
		if err := f.Apply(ctx); err != nil {
			return err
		}
		for _, n := range nodes {
			if err := f.Serve(ctx, n); err != nil {
				return err
			}
		}
		// The applications answer before they are first asked: a monitor that finds one unwell asks again a minute later.
		f.Work.Env = append(f.Work.Env, site)
		return f.Apply(ctx)
	}
	c.Ready = func(ctx context.Context, f *Field) error { return edgeReady(ctx, f, nodes) }
	return c
}

// machinesVariable tells the stack of machines by the addresses that they get in the lab: each site counts from ten.
func machinesVariable(machines []lab.Machine) string {
	first := map[string]string{network.SiteColo: "198.51.100.%d", network.SiteVPS: "198.51.100.%d"}
	next := map[string]int{network.SiteColo: 10, network.SiteVPS: 74}
	var parts []string
	for _, m := range machines {
		host := fmt.Sprintf(first[m.Site], next[m.Site])
		next[m.Site]++
		parts = append(parts, fmt.Sprintf("%s = { provider = %q, site = %q, host = %q }", m.Name, m.Site, "hong-kong", host))
	}
	return "{ " + strings.Join(parts, ", ") + " }"
}

// edgeReady returns what keeps visitors from being served by all nodes as if nothing had ever happened.
func edgeReady(ctx context.Context, f *Field, nodes []string) error {
	status, healthy, err := f.Status(ctx)
	if err != nil {
		return err
	}
	if !healthy {
		return fmt.Errorf("atoll status: %s", strings.Join(status.Reasons, "; "))
	}
	if out := outOfService(f); len(out) > 0 {
		return fmt.Errorf("%v are out of service", out)
	}
	for _, n := range nodes {
		h, err := f.HealthFor(ctx, n, edgeHost)
		if err != nil {
			return err
		}
		if !h.Healthy {
			return fmt.Errorf("%s: %s", n, h.Waiting)
		}
	}
	return edgeFindsHealthy(f, nodes...) //nolint:contextcheck // the monitors outlive the question
}

// edgeFindsHealthy returns an error unless the edge finds these nodes healthy.
func edgeFindsHealthy(f *Field, nodes ...string) error {
	found := map[string]string{}
	for _, h := range f.Describe().Edge.Hostnames {
		for _, e := range h.Endpoints {
			found[e.Name] = e.Health
		}
	}
	for _, n := range nodes {
		if found[n] != "healthy" {
			return fmt.Errorf("the edge finds %s %q", n, found[n])
		}
	}
	return nil
}

// endpoints returns whether each node's endpoint is enabled at the vendor.
func endpoints(account *cloudflare.Account) map[string]bool {
	out := map[string]bool{}
	for _, p := range account.Pools {
		for _, o := range p.Origins {
			out[o.Name] = o.Enabled
		}
	}
	return out
}

// outOfService returns the nodes whose endpoints are disabled at the vendor, sorted.
func outOfService(f *Field) []string {
	var out []string
	for name, enabled := range endpoints(f.Cloudflare().Account()) {
		if !enabled {
			out = append(out, name)
		}
	}
	slices.Sort(out)
	return out
}

// isOut returns an error unless exactly these nodes are out of service at the vendor.
func isOut(f *Field, nodes ...string) error {
	if out := outOfService(f); !slices.Equal(out, nodes) {
		return fmt.Errorf("out of service are %v", out)
	}
	return nil
}

// removed measures until a node, and no other, is out of service at the vendor.
func removed(ctx context.Context, f *Field, node string) error {
	return f.Measure(ctx, outFigure, 30*time.Second, func(context.Context) error { return isOut(f, node) })
}

// outFigure is what removed measures.
const outFigure = "the dead node is out of service"

// inTime demands that removed took no longer than the objective.
func inTime(o Outcome) error {
	if took := o.Found[outFigure]; took > removalObjective {
		return fmt.Errorf("the node was out of service after %s, promised are %s", seconds(took), seconds(removalObjective))
	}
	return nil
}

// powerOn gives nodes their power back. Ready waits for what follows.
func powerOn(ctx context.Context, f *Field, nodes ...string) error {
	for _, n := range nodes {
		if err := f.PowerOn(ctx, n); err != nil {
			return err
		}
	}
	return nil
}

// cutBetween cuts every path between two parts of the cluster. The edge, the operator and the vendor reach both.
func cutBetween(ctx context.Context, f *Field, left, right []string) error {
	for _, a := range left {
		for _, b := range right {
			if err := f.Cut(ctx, a, b, false); err != nil {
				return err
			}
		}
	}
	return nil
}

// unit does something to the application of a node.
func unit(ctx context.Context, f *Field, node string, verb ...string) error {
	_, err := f.Exec(ctx, node, slices.Concat([]string{"systemctl"}, verb, []string{demo.Unit})...)
	return err
}

// nodesOf names who answered, and how often.
func nodesOf(counts map[string]int) string {
	var parts []string
	for _, n := range slices.Sorted(maps.Keys(counts)) {
		parts = append(parts, fmt.Sprintf("%s %d", n, counts[n]))
	}
	return strings.Join(parts, ", ")
}
