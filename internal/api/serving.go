package api

import (
	"fmt"
	"maps"
	"slices"
	"strings"
	"time"

	"github.com/atollhq/terraform-provider-atoll/internal/spec"
	"github.com/atollhq/terraform-provider-atoll/internal/store"
)

// ServingState is one word for what a node does for a load balancer.
type ServingState string

// What a node does for a load balancer.
const (
	// ServingIn is a node that serves.
	ServingIn ServingState = "serving"
	// ServingKept is a node that serves although its application is unwell or it has lost the others, because too few nodes would
	// be left.
	ServingKept ServingState = "kept"
	// ServingOut is a node that does not serve because it, or its application, is unwell.
	ServingOut ServingState = "out"
	// ServingMaintenance is a node that the operator has taken out of service as a whole.
	ServingMaintenance ServingState = "maintenance"
	// ServingDisabled is a node that the operator has taken out of this load balancer.
	ServingDisabled ServingState = "disabled"
	// ServingUnknown is a node whose state nobody knows: it has not joined, or is not heard of.
	ServingUnknown ServingState = "unknown"
)

// LoadBalancerView is a load balancer in the status of its cluster.
type LoadBalancerView struct {
	// Nodes are those of the load balancer, by name.
	Nodes map[string]ServingView `json:"nodes"`
	// MinimumNodes is how many of them are to stay in service when applications are unwell.
	MinimumNodes int `json:"minimum_nodes"`
}

// In returns how many nodes serve, those that are kept included.
func (v LoadBalancerView) In() int {
	n := 0
	for _, node := range v.Nodes {
		if node.State == ServingIn || node.State == ServingKept {
			n++
		}
	}
	return n
}

// ServingView is one node of a load balancer.
type ServingView struct {
	State ServingState `json:"state"`
	// Since is when the node went in or out of service, as far as that is known.
	Since time.Time `json:"since"`
	// Reason says why, for every state but serving.
	Reason string `json:"reason,omitempty"`
}

// loadBalancerView returns a load balancer as the nodes report it.
func (out *ClusterStatus) loadBalancerView(hostname string, lb spec.LoadBalancer, s *store.Snapshot, now time.Time) LoadBalancerView {
	v := LoadBalancerView{Nodes: map[string]ServingView{}, MinimumNodes: lb.MinimumNodes}
	for name, part := range lb.Nodes {
		n := out.servingView(hostname, name, part, s)
		n.Since = notAfter(n.Since, now)
		v.Nodes[name] = n
	}
	return v
}

func (out *ClusterStatus) servingView(hostname, name string, part spec.ServingNode, s *store.Snapshot) ServingView {
	node, known := out.Nodes[name]
	status := s.Statuses[name].Serving[hostname]
	switch {
	case !known:
		return ServingView{State: ServingUnknown, Reason: "it is not in the cluster"}
	case node.Maintenance != nil:
		return ServingView{State: ServingMaintenance, Since: node.Maintenance.Since, Reason: node.Maintenance.Reason}
	case !part.Enabled:
		return ServingView{State: ServingDisabled, Reason: "the operator has disabled it"}
	case node.State == NodeDown:
		return ServingView{State: ServingOut, Since: node.Since, Reason: "the node is down"}
	case node.State == NodeJoining || node.State == NodeSilent:
		return ServingView{State: ServingUnknown, Since: node.Since, Reason: "the node is " + string(node.State)}
	case status == (spec.ServingStatus{}):
		return ServingView{State: ServingUnknown, Reason: "it has not said yet"}
	case status.Kept && status.Node == "mesh":
		return ServingView{State: ServingKept, Since: status.Since, Reason: "it has lost the others"}
	case status.Kept && status.Node == "database":
		return ServingView{State: ServingKept, Since: status.Since, Reason: "it has no way to the database"}
	case status.Kept && status.Node == "files":
		return ServingView{State: ServingKept, Since: status.Since, Reason: "its files are not kept equal"}
	case status.Fit && status.Application == "":
		return ServingView{State: ServingIn, Since: status.Since}
	case status.Fit:
		return ServingView{State: ServingKept, Since: status.Since, Reason: "application: " + status.Application}
	}
	var why []string
	switch status.Node {
	case "":
	case "application":
		why = append(why, "its application was not asked yet")
	case "files":
		text := "its files are not found equal with the other node's yet"
		if status.Barred {
			text += ", after a maintenance"
		}
		why = append(why, text)
	default:
		why = append(why, status.Node+" of the node itself")
	}
	if status.Application != "" {
		why = append(why, "application: "+status.Application)
	}
	return ServingView{State: ServingOut, Since: status.Since, Reason: strings.Join(why, "; ")}
}

// judge says what is wrong with the load balancer. Of a node that is itself what is wrong nothing is said here.
func (v LoadBalancerView) judge(hostname string, nodes map[string]NodeView) []string {
	var reasons []string
	for _, name := range slices.Sorted(maps.Keys(v.Nodes)) {
		n := v.Nodes[name]
		up := nodes[name].State == NodeReady || nodes[name].State == NodeNotReady
		switch {
		case n.State == ServingKept:
			reasons = append(reasons, fmt.Sprintf("load balancer %s: node %s serves although it is unwell%s, because too few would be left: %s", hostname, name, since(n.Since), n.Reason))
		case n.State == ServingOut && up:
			reasons = append(reasons, fmt.Sprintf("load balancer %s: node %s is out of service%s: %s", hostname, name, since(n.Since), n.Reason))
		case n.State == ServingUnknown && (up || nodes[name].State == ""):
			reasons = append(reasons, fmt.Sprintf("load balancer %s: whether node %s serves is unknown: %s", hostname, name, n.Reason))
		}
	}
	if v.In() == 0 {
		reasons = append(reasons, fmt.Sprintf("load balancer %s: no node is in service", hostname))
	}
	return reasons
}
