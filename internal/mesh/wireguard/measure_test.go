package wireguard_test

import (
	"flag"
	"testing"
	"time"

	"github.com/atollhq/terraform-provider-atoll/internal/mesh/meshtest"
	"github.com/atollhq/terraform-provider-atoll/internal/spec"
)

var measure = flag.Bool("measure", false, "measure how fast the mesh is and how fast it goes round a cut, for some minutes")

func requireMeasure(t *testing.T) {
	t.Helper()
	if !*measure {
		t.Skip("a measurement: go test ./internal/mesh/wireguard -run 'TestReroute|TestRotations|TestThroughput' -measure")
	}
	meshtest.Require(t)
}

// TestReroute is a measurement.
func TestReroute(t *testing.T) {
	requireMeasure(t)
	var ages []time.Duration
	for range 4 {
		for _, s := range []int{1, 2, 3, 5, 8} {
			ages = append(ages, time.Duration(s)*time.Second)
		}
	}
	meshtest.Reroute(t, ages, meshtest.Variant{
		Name: "WireGuard", Driver: spec.MeshWireGuard, New: newDriver(t), Unit: unit, Observe: 5 * time.Second,
	})
}

// TestThroughput is a measurement.
func TestThroughput(t *testing.T) {
	requireMeasure(t)
	meshtest.Throughput(t, 10*time.Second, meshtest.Variant{Name: "WireGuard", Driver: spec.MeshWireGuard, New: newDriver(t), Unit: unit})
}

// TestRotations is a measurement.
func TestRotations(t *testing.T) {
	requireMeasure(t)
	meshtest.Rotations(t, 10, 15*time.Millisecond, meshtest.Variant{
		Name: "WireGuard", Driver: spec.MeshWireGuard, New: newDriver(t), Unit: unit, Observe: 10 * time.Second,
	})
}
