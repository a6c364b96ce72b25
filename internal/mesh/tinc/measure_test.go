package tinc_test

import (
	"flag"
	"fmt"
	"io/fs"
	"log/slog"
	"path"
	"strings"
	"testing"
	"time"

	"github.com/atollhq/terraform-provider-atoll/internal/host"
	"github.com/atollhq/terraform-provider-atoll/internal/mesh"
	"github.com/atollhq/terraform-provider-atoll/internal/mesh/meshtest"
	"github.com/atollhq/terraform-provider-atoll/internal/mesh/tinc"
	"github.com/atollhq/terraform-provider-atoll/internal/spec"
)

var measure = flag.Bool("measure", false, "measure what tinc's settings cost and gain, for some minutes")

// TestReroute is a measurement. Stock is tinc as it comes; with fast timers alone it still goes on sending to the dead
// address while it looks for a young connection's MTU.
func TestReroute(t *testing.T) {
	requireMeasure(t)
	var ages []time.Duration
	for _, s := range []int{1, 3, 6, 10, 20, 40} {
		ages = append(ages, time.Duration(s)*time.Second)
	}
	own := spec.DefaultTinc()
	stock := spec.Tinc{PingInterval: 60, PingTimeout: 5, MaxTimeout: 900}
	meshtest.Reroute(t, ages,
		variant("stock", "IndirectData", stock, 100*time.Second),
		variant("our timers alone", "IndirectData", own, 60*time.Second),
		variant("ours", "", own, 60*time.Second),
	)
}

// TestDistances is a measurement: tincd's timers also bound how long two nodes may take to authenticate.
func TestDistances(t *testing.T) {
	requireMeasure(t)
	var roundTrips []time.Duration
	for _, ms := range []int{20, 50, 100, 150, 200, 250, 300, 400} {
		roundTrips = append(roundTrips, time.Duration(ms)*time.Millisecond)
	}
	var variants []meshtest.Variant
	for _, seconds := range []int{1, 2, 3} {
		variants = append(variants, variant("", "", spec.Tinc{PingInterval: seconds, PingTimeout: seconds, MaxTimeout: 5}, time.Minute))
	}
	meshtest.Distances(t, roundTrips, variants...)
}

// TestRestarts is a measurement: keys that cross on two ways leave a pair unable to understand each other.
func TestRestarts(t *testing.T) {
	requireMeasure(t)
	meshtest.Restarts(t, 15, 15*time.Millisecond,
		variant("keys cross", "\t\ttype filter hook output", spec.DefaultTinc(), 15*time.Second), // nothing is held back
		variant("ours", "", spec.DefaultTinc(), 15*time.Second),
	)
}

// TestRotations is a measurement: a node that changes its key is started again.
func TestRotations(t *testing.T) {
	requireMeasure(t)
	meshtest.Rotations(t, 10, 15*time.Millisecond, variant("ours", "", spec.DefaultTinc(), 15*time.Second))
}

// TestThroughput is a measurement.
func TestThroughput(t *testing.T) {
	requireMeasure(t)
	meshtest.Throughput(t, 10*time.Second, variant("tinc", "", spec.DefaultTinc(), 0))
}

func requireMeasure(t *testing.T) {
	t.Helper()
	if !*measure {
		t.Skip("a measurement: go test ./internal/mesh/tinc -run 'TestReroute|TestDistances|TestRestarts|TestRotations|TestThroughput' -measure -timeout 40m")
	}
	meshtest.Require(t, "tincd")
}

// variant returns a mesh with timers, without one of the other settings.
func variant(name, without string, timers spec.Tinc, observe time.Duration) meshtest.Variant {
	return meshtest.Variant{
		Name:   strings.TrimSpace(fmt.Sprintf("%s %d/%d/%d", name, timers.PingInterval, timers.PingTimeout, timers.MaxTimeout)),
		Driver: spec.MeshTinc, Unit: tinc.UnitName, Observe: observe,
		New: func(sys host.System, log *slog.Logger) mesh.Driver {
			return tinc.NewWith(lacking{sys, without}, log, tinc.Options{KeyBits: 2048})
		},
		Edit: func(c *spec.Cluster) { c.Mesh.Tinc = &timers },
	}
}

// lacking is a machine on which one line is left out of tinc's files.
type lacking struct {
	host.System
	setting string
}

func (l lacking) WriteFile(name string, data []byte, mode fs.FileMode) (bool, error) {
	if l.setting != "" && path.Dir(name) == "/etc/tinc/atoll" {
		var kept strings.Builder
		for line := range strings.Lines(string(data)) {
			if !strings.HasPrefix(line, l.setting+" ") {
				kept.WriteString(line)
			}
		}
		data = []byte(kept.String())
	}
	return l.System.WriteFile(name, data, mode)
}
