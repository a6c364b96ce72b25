package tinc_test

import (
	"flag"
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

var reroute = flag.Bool("reroute", false, "measure how long traffic stops when a link is cut, with tinc's stock settings and ours (10 minutes)")

// TestReroute is a measurement. Stock is tinc as it comes; with fast timers alone it still goes on sending to the dead
// address while it looks for a young connection's MTU.
func TestReroute(t *testing.T) {
	if !*reroute {
		t.Skip("a measurement of ten minutes: go test ./internal/mesh/tinc -run TestReroute -reroute -v -timeout 30m")
	}
	meshtest.Require(t, "tincd")
	timers := func(interval, timeout, longest int) func(*spec.Cluster) {
		return func(c *spec.Cluster) {
			c.Mesh.Tinc = &spec.Tinc{PingInterval: interval, PingTimeout: timeout, MaxTimeout: longest}
		}
	}
	driver := func(drop string) mesh.New {
		return func(sys host.System, log *slog.Logger) mesh.Driver {
			return tinc.NewWith(without{sys, drop}, log, tinc.Options{KeyBits: 2048})
		}
	}
	variant := func(name string, d mesh.New, edit func(*spec.Cluster), observe time.Duration) meshtest.Variant {
		return meshtest.Variant{Name: name, Driver: spec.MeshTinc, New: d, Unit: tinc.UnitName, Edit: edit, Observe: observe}
	}
	own := spec.DefaultTinc()
	var ages []time.Duration
	for _, s := range []int{1, 3, 6, 10, 20, 40} {
		ages = append(ages, time.Duration(s)*time.Second)
	}
	meshtest.Reroute(t, ages,
		variant("stock (60/5/900)", driver("IndirectData"), timers(60, 5, 900), 100*time.Second),
		variant("our timers alone", driver("IndirectData"), timers(own.PingInterval, own.PingTimeout, own.MaxTimeout), 60*time.Second),
		variant("ours", driver("nothing"), nil, 60*time.Second),
	)
}

// without is a machine on which one setting is left out of tinc.conf.
type without struct {
	host.System
	setting string
}

func (w without) WriteFile(name string, data []byte, mode fs.FileMode) (bool, error) {
	if path.Base(name) == "tinc.conf" {
		var kept strings.Builder
		for line := range strings.Lines(string(data)) {
			if !strings.HasPrefix(line, w.setting+" =") {
				kept.WriteString(line)
			}
		}
		data = []byte(kept.String())
	}
	return w.System.WriteFile(name, data, mode)
}
