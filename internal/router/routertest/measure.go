//go:build linux

package routertest

import (
	"context"
	"fmt"
	"io"
	"net"
	"os"
	"slices"
	"sync"
	"testing"
	"text/tabwriter"
	"time"

	"github.com/atollhq/terraform-provider-atoll/internal/lab/mysqlgroup"
)

// Way is one way to a primary that is measured.
type Way struct {
	Name string
	// Driver makes the router; nil is MySQL Router with what its own bootstrap writes.
	Driver NewDriver
}

// stockPort is where a router listens that its own bootstrap has configured.
const stockPort = 6446

// stock sets up MySQL Router as its manual says.
const stock = `set -e
printf '%s\n' "$1" | mysqlrouter --bootstrap "$0" --user=root --directory=/var/lib/router --conf-bind-address=127.0.0.1 --disable-rest --force --report-host=web1 >&2
systemd-run --quiet --unit=stock-router mysqlrouter -c /var/lib/router/mysqlrouter.conf`

// Measure has a group fail, in several ways and as often as b.N says, and prints what an application sees of it through each of the
// ways, all at the same time: when its open connection is cut, and when a new one first writes again.
func Measure(b *testing.B, ways []Way) {
	w := newWorld(b)
	ports := make([]int, len(ways))
	for i, way := range ways {
		ports[i] = stockPort
		if way.Driver == nil {
			first := w.Servers[0]
			if err := first.Exec(b.Context(), "CREATE USER boot@'%' IDENTIFIED BY 'boot'; GRANT ALL ON *.* TO boot@'%' WITH GRANT OPTION"); err != nil {
				b.Fatal(err)
			}
			if out, err := w.app.Run(b.Context(), "sh", "-c", stock, fmt.Sprintf("boot@%s:%d", first.Address, mysqlgroup.Port), "boot"); err != nil {
				b.Fatalf("%v\n%s", err, out)
			}
			continue
		}
		c := w.config()
		ports[i] = 7000 + 10*i
		c.Databases[0].WritePort, c.Databases[0].ReadPort = ports[i], ports[i]+1
		if err := way.Driver(b, w.sys, w.app).Apply(b.Context(), c); err != nil {
			b.Fatal(err)
		}
	}
	figures := map[string][]time.Duration{}
	var order []string
	for b.Loop() {
		for _, f := range w.failures(b) {
			for i, seen := range w.see(b, ports, f) {
				for what, took := range map[string]time.Duration{"open connection cut": seen.cut, "new connection writes": seen.writes} {
					row := fmt.Sprintf("%s\t%s\t%s", f.name, what, ways[i].Name)
					if !slices.Contains(order, row) {
						order = append(order, row)
					}
					figures[row] = append(figures[row], took)
				}
			}
		}
	}
	slices.Sort(order)
	table := tabwriter.NewWriter(os.Stdout, 0, 0, 2, ' ', 0)
	fmt.Fprintf(table, "\nfailure\tseen\trouter\tp50\tworst of %d\n", b.N)
	for _, row := range order {
		all := figures[row]
		slices.Sort(all)
		fmt.Fprintf(table, "%s\t%.2f s\t%.2f s\n", row, all[len(all)/2].Seconds(), all[len(all)-1].Seconds())
	}
	if err := table.Flush(); err != nil {
		b.Fatal(err)
	}
}

// failure is one that a group goes through.
type failure struct {
	name string
	// begin has it happen, end has the group whole again.
	begin, end func(ctx context.Context) error
}

// failures are those of the server that is the primary when they begin.
func (w *world) failures(b *testing.B) []failure {
	b.Helper()
	var victim *mysqlgroup.Server
	take := func(ctx context.Context) (err error) {
		victim, err = w.Primary(ctx)
		return err
	}
	rejoin := func(ctx context.Context) error {
		if err := victim.Start(ctx); err != nil {
			return err
		}
		return victim.Join(ctx)
	}
	return []failure{
		{"switchover", func(ctx context.Context) error { return w.Secondaries(ctx)[0].MakePrimary(ctx) }, func(context.Context) error { return nil }},
		{"crash", func(ctx context.Context) error {
			if err := take(ctx); err != nil {
				return err
			}
			return victim.Kill(ctx)
		}, rejoin},
		{"silent death", func(ctx context.Context) error {
			if err := take(ctx); err != nil {
				return err
			}
			w.role(victim).stop()
			return victim.PowerCut(ctx)
		}, func(ctx context.Context) error {
			if err := victim.PowerOn(ctx); err != nil {
				return err
			}
			w.roles[slices.Index(w.Servers, victim)] = answer(b, victim) //nolint:contextcheck // it outlives the failure
			return rejoin(ctx)
		}},
	}
}

func (w *world) role(s *mysqlgroup.Server) *roles { return w.roles[slices.Index(w.Servers, s)] }

// seen is what an application sees of a failure.
type seen struct{ cut, writes time.Duration }

// see has a failure happen while applications look, each through its own port.
func (w *world) see(b *testing.B, ports []int, f failure) []seen {
	b.Helper()
	ctx, cancel := context.WithTimeout(b.Context(), 2*time.Minute)
	defer cancel()
	out := make([]seen, len(ports))
	var held []net.Conn
	for _, port := range ports {
		w.awaitWrites(ctx, port)
		conn, end, err := w.holdOpen(ctx, port)
		if err != nil {
			b.Fatalf("%s: port %d: %v", f.name, port, err)
		}
		defer end()
		held = append(held, conn)
	}
	began := time.Now()
	var all sync.WaitGroup
	for i, conn := range held {
		all.Go(func() {
			_, _ = io.ReadAll(conn) // nobody says anything before the end
			out[i].cut = time.Since(began)
		})
	}
	if err := f.begin(ctx); err != nil {
		b.Fatalf("%s: %v", f.name, err)
	}
	happened := time.Since(began)
	for i, port := range ports {
		all.Go(func() {
			w.awaitWrites(ctx, port)
			out[i].writes = time.Since(began)
		})
	}
	all.Wait()
	if ctx.Err() != nil {
		b.Fatalf("%s: after two minutes some application still waits: %v", f.name, out)
	}
	b.Logf("%s (took %s): %v", f.name, happened.Round(time.Millisecond), out)
	ctx = b.Context()
	if err := f.end(ctx); err != nil {
		b.Fatalf("after %s: %v", f.name, err)
	}
	if err := w.AwaitOnline(ctx, len(w.Servers)); err != nil {
		b.Fatalf("after %s: %v", f.name, err)
	}
	return out
}

// holdOpen makes a connection through a port, and returns what it is below.
func (w *world) holdOpen(ctx context.Context, port int) (net.Conn, func(), error) {
	var below net.Conn
	c, err := w.connectBy(ctx, fmt.Sprintf("127.0.0.1:%d", port), func(ctx context.Context, network, addr string) (net.Conn, error) {
		conn, err := w.app.Dial(ctx, network, addr)
		below = conn
		return conn, err
	}, "false")
	if err != nil {
		return nil, nil, err
	}
	if err := write(ctx, c, "held"); err != nil {
		c.close()
		return nil, nil, err
	}
	return below, c.close, nil
}

// awaitWrites waits until a new connection through a port can write, or the time is over.
func (w *world) awaitWrites(ctx context.Context, port int) {
	tick := time.NewTicker(10 * time.Millisecond)
	defer tick.Stop()
	for !w.writes(ctx, port) {
		select {
		case <-ctx.Done():
			return
		case <-tick.C:
		}
	}
}

// writes tells whether a new connection through a port can write.
func (w *world) writes(ctx context.Context, port int) bool {
	ctx, cancel := context.WithTimeout(ctx, 2*time.Second)
	defer cancel()
	c, err := w.connect(ctx, fmt.Sprintf("127.0.0.1:%d", port))
	if err != nil {
		return false
	}
	defer c.close()
	return write(ctx, c, "new") == nil
}
