package agent

import (
	"context"
	"errors"
	"log/slog"
	"net/netip"
	"os"
	"syscall"
	"time"

	"github.com/atollhq/terraform-provider-atoll/internal/agent/probes"
	"github.com/atollhq/terraform-provider-atoll/internal/appcheck"
	"github.com/atollhq/terraform-provider-atoll/internal/balancer"
	"github.com/atollhq/terraform-provider-atoll/internal/database"
	"github.com/atollhq/terraform-provider-atoll/internal/edge"
	"github.com/atollhq/terraform-provider-atoll/internal/host"
	"github.com/atollhq/terraform-provider-atoll/internal/mesh"
	"github.com/atollhq/terraform-provider-atoll/internal/platform"
	"github.com/atollhq/terraform-provider-atoll/internal/probe"
	"github.com/atollhq/terraform-provider-atoll/internal/replication"
	"github.com/atollhq/terraform-provider-atoll/internal/replication/place"
	"github.com/atollhq/terraform-provider-atoll/internal/router"
	"github.com/atollhq/terraform-provider-atoll/internal/spec"
)

// DefaultStateDir is where an agent keeps what it must not lose.
const DefaultStateDir = "/var/lib/atoll"

// Config is how an agent fits its machine. The zero value of each field but Drivers is the default of a real node; the
// others let several agents share one machine.
type Config struct {
	// StateDir is the agent's own directory; empty means DefaultStateDir.
	StateDir string
	// Machine tells where first-boot data comes from.
	Machine platform.Machine
	// Listen is the IP address that the API and the health endpoint listen on; empty means all.
	Listen string
	// Ports hold until the cluster object names others; a zero port means that of spec.DefaultPorts.
	Ports spec.Ports
	// System is the machine that the agent changes; nil means this one.
	System host.System
	// Drivers are the mesh drivers that the agent has. Required.
	Drivers map[spec.MeshDriver]mesh.New
	// Proxies are the drivers of local proxies that the agent has; without any it serves no load balancer that wants one.
	Proxies map[spec.ProxyDriver]balancer.New
	// Databases are the engines of databases that the agent has, Routers the drivers of local routers to them.
	Databases map[spec.DatabaseEngine]database.New
	Routers   map[spec.RouterDriver]router.New
	// Replications are the drivers of pairs that the agent has.
	Replications map[spec.ReplicationDriver]replication.New
	// Look returns the facts of a directory of the machine; nil means place.Look.
	Look func(ctx context.Context, path string) (place.Facts, error)
	// RolloutPatience is how long a database's member may take to come back with new settings before a rollout stops; 0 means
	// five minutes.
	RolloutPatience time.Duration
	// NewProber makes the prober of peers; nil means ICMP echo over the mesh.
	NewProber func(*slog.Logger) (Prober, error)
	// Links begins to measure links, as OpenLinks does; nil means that they are not measured, and no bad link is left.
	Links func(probe.Options, *slog.Logger) (probes.Prober, error)
	// MeshBind maps a mesh address to the one that gossip uses in its place; nil means that address itself.
	MeshBind func(netip.Addr) netip.Addr
	// Console is where a line is written when what the agent waits for changes; nil means /dev/console.
	Console func(line string)
	// Network returns what keeps the machine from reaching others, "" when nothing does; nil means to look at its interfaces
	// and routes.
	Network func() string
	// Commands runs the commands of applications' checks; nil means as services of this machine's systemd.
	Commands appcheck.Commands
	// Edge opens the vendor of load balancers for the removal of dead nodes; nil means that this agent cannot act there.
	Edge edge.Open
	// Now is the clock; nil means time.Now.
	Now func() time.Time
	// Version is the agent's version for its reports.
	Version string
	// Log may be nil.
	Log *slog.Logger
	// Ready is called once the health endpoint answers; nil means nothing to call.
	Ready func()
}

// withDefaults returns the configuration with every default filled in.
func (c Config) withDefaults() Config {
	if c.StateDir == "" {
		c.StateDir = DefaultStateDir
	}
	ports := spec.DefaultPorts()
	for _, p := range []struct{ have, otherwise *int }{
		{&c.Ports.API, &ports.API}, {&c.Ports.Health, &ports.Health}, {&c.Ports.Gossip, &ports.Gossip},
	} {
		if *p.have == 0 {
			*p.have = *p.otherwise
		}
	}
	if c.System == nil {
		c.System = host.Real()
	}
	if c.NewProber == nil {
		c.NewProber = newICMPProber
	}
	if c.MeshBind == nil {
		c.MeshBind = func(a netip.Addr) netip.Addr { return a }
	}
	if c.Console == nil {
		c.Console = writeConsole
	}
	if c.Network == nil {
		c.Network = networkProblem
	}
	if c.Commands == nil {
		c.Commands = host.NewApart()
	}
	if c.Look == nil {
		c.Look = place.Look
	}
	if c.Edge == nil {
		c.Edge = func(spec.QuickRemoval, string) (edge.Vendor, error) {
			return nil, errors.New("this agent was built without any vendor of load balancers")
		}
	}
	if c.Now == nil {
		c.Now = time.Now
	}
	if c.Version == "" {
		c.Version = "unknown"
	}
	if c.Log == nil {
		c.Log = slog.New(slog.DiscardHandler)
	}
	if c.Ready == nil {
		c.Ready = func() {}
	}
	return c
}

// writeConsole tells whoever looks at the machine's screen. Nobody has to: a machine without a console is no error.
func writeConsole(line string) {
	f, err := os.OpenFile("/dev/console", os.O_WRONLY|syscall.O_NOCTTY|syscall.O_NONBLOCK, 0)
	if err != nil {
		return
	}
	_, _ = f.WriteString("atolld: " + line + "\r\n")
	_ = f.Close()
}
