package operator_test

import (
	"fmt"
	"testing"

	"github.com/atollhq/terraform-provider-atoll/internal/provider/operator"
	"github.com/atollhq/terraform-provider-atoll/internal/spec"
)

// BenchmarkPlanAThousandPlaces plans a thousand nodes, each behind a firewall.
func BenchmarkPlanAThousandPlaces(b *testing.B) {
	for b.Loop() {
		c := operator.New(operator.Config{}).Cluster("web")
		c.Describe(spec.Cluster{Mesh: spec.DefaultMesh(), Ports: spec.DefaultPorts()})
		for i := range 1000 {
			rules := []spec.FirewallRule{{Protocol: "tcp", Peers: []string{"203.0.0.0/16"}}, {Protocol: "udp", Peers: []string{"203.0.0.0/16"}}}
			n := spec.Node{Addresses: []string{fmt.Sprintf("203.0.%d.%d", i>>8, i&255)}, Firewall: &spec.Firewall{Inbound: rules}}
			if got := c.PlanPlace(fmt.Sprintf("n%d", i), operator.PlannedPlace{Node: n}); len(got) > 0 {
				b.Fatal(got)
			}
		}
	}
}
