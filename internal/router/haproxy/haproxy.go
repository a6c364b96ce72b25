// Package haproxy is the router driver over HAProxy, from version 2.6 on, which is told by the members' agents who takes writes
// (package rolecheck). It needs no account at the members but to say where connections lead.
//
// Each database has a process of its own, as with the other drivers: one that has to start again for one database interrupts no
// connection to another. Members come and go while it runs.
package haproxy

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"log/slog"
	"net"
	"regexp"
	"slices"
	"strconv"
	"sync"
	"time"

	"github.com/atollhq/terraform-provider-atoll/internal/host"
	"github.com/atollhq/terraform-provider-atoll/internal/router"
)

// Driver implements router.Driver.
type Driver struct {
	sys    host.System
	log    *slog.Logger
	settle time.Duration
	dial   func(ctx context.Context, network, address string) (net.Conn, error)
	served router.Served

	// applying has one Apply at a time.
	applying sync.Mutex
}

var (
	_ router.Driver = (*Driver)(nil)
	_ host.Packager = (*Driver)(nil)
)

// Options are the parts of a driver that a test replaces; the zero value is production.
type Options struct {
	// Settle is how long HAProxy may take to serve a new configuration, 5 s if zero.
	Settle time.Duration
	// Dial connects to an address of the node, or to one of its Unix sockets; nil means this machine.
	Dial func(ctx context.Context, network, address string) (net.Conn, error)
}

// poll is how often the driver looks whether HAProxy has done what it was told.
const poll = 20 * time.Millisecond

// New returns a driver for sys.
func New(sys host.System, log *slog.Logger) router.Driver { return NewWith(sys, log, Options{}) }

// NewWith returns a driver for sys with options.
func NewWith(sys host.System, log *slog.Logger, o Options) *Driver {
	d := &Driver{sys: sys, log: log, settle: o.Settle, dial: o.Dial, served: router.Served{Routes: router.Routes{Dial: o.Dial}}}
	if d.settle == 0 {
		d.settle = 5 * time.Second
	}
	if d.dial == nil {
		var dialer net.Dialer
		d.dial = dialer.DialContext
	}
	return d
}

// Packages implements host.Packager.
func (*Driver) Packages() []host.Package {
	return []host.Package{{Name: "haproxy", Binary: "haproxy", Service: "haproxy.service"}, {Name: "iproute2", Binary: "ip"}}
}

// Apply implements router.Driver.
func (d *Driver) Apply(ctx context.Context, c *router.Config) error {
	d.applying.Lock()
	defer d.applying.Unlock()
	if c == nil {
		c = &router.Config{}
	}
	valid, err := c.Valid()
	problems := []error{err, d.removeOthers(ctx, c)}
	ipv6 := router.HasIPv6(d.sys)
	var made []router.Database
	for _, database := range valid {
		want := newConfig(database, ipv6)
		err := checked(database)
		if err == nil {
			err = d.apply(ctx, database, want)
		}
		if err != nil {
			problems = append(problems, fmt.Errorf("apply the router of database %q: %w", database.Name, err))
			continue
		}
		made = append(made, database)
	}
	d.served.Set(c, made)
	return errors.Join(problems...)
}

// checked asks for what only this driver needs.
func checked(d router.Database) error {
	for _, m := range d.Members {
		if !m.Check.IsValid() || m.Check.Port() == 0 {
			return &router.InvalidError{Database: d.Name, Message: fmt.Sprintf("where member %s says its role is missing", m.Node)}
		}
	}
	return nil
}

// removeOthers takes away everything that belongs to databases that a configuration does not have.
func (d *Driver) removeOthers(ctx context.Context, c *router.Config) error {
	names, err := d.sys.ReadDir(configDir)
	if err != nil && !errors.Is(err, fs.ErrNotExist) {
		return err
	}
	var problems []error
	for _, name := range names {
		if slices.ContainsFunc(c.Databases, func(d router.Database) bool { return d.Name == name }) {
			continue
		}
		_, err := d.sys.Units().Remove(ctx, unitName(name))
		if err == nil {
			_, err = d.sys.Remove(runDir(name))
		}
		if err == nil {
			_, err = d.sys.Remove(databaseDir(name))
		}
		if err != nil {
			problems = append(problems, fmt.Errorf("remove the router of database %q: %w", name, err))
		}
	}
	if len(c.Databases) == 0 && len(problems) == 0 {
		if _, err := d.sys.Remove(configDir); err != nil {
			return fmt.Errorf("remove the routers: %w", err)
		}
	}
	return errors.Join(problems...)
}

// apply makes the router of one database.
func (d *Driver) apply(ctx context.Context, database router.Database, want config) error {
	unit, err := d.sys.Units().Status(ctx, unitName(database.Name))
	if err != nil {
		return err
	}
	old, err := d.sys.ReadFile(configPath(database.Name))
	if err != nil && !errors.Is(err, fs.ErrNotExist) {
		return err
	}
	if err := router.TakenPort(ctx, d.sys, database, ownPorts(old, unit.Active)); err != nil {
		return err
	}
	if string(old) != want.text {
		if err := d.write(ctx, database.Name, want.text); err != nil {
			return err
		}
	}
	_, err = d.sys.Units().Ensure(ctx, serviceUnit(database.Name, want.mark))
	if err != nil || host.Recording(d.sys) {
		return err
	}
	if err := d.awaitMark(ctx, database.Name, want.mark); err != nil {
		return err
	}
	return d.syncServers(ctx, database.Name, want.servers)
}

var bindLine = regexp.MustCompile(`(?m)^\tbind 127\.0\.0\.1:(\d+)$`)

// ownPorts returns the ports of a configuration that HAProxy runs with.
func ownPorts(text []byte, running bool) map[int]bool {
	own := map[int]bool{}
	for _, m := range bindLine.FindAllSubmatch(text, -1) {
		if port, err := strconv.Atoi(string(m[1])); err == nil && running {
			own[port] = true
		}
	}
	return own
}

// write puts a configuration in place that HAProxy finds good.
func (d *Driver) write(ctx context.Context, database, text string) error {
	if !host.Recording(d.sys) {
		next := databaseDir(database) + "/next.cfg"
		if _, err := d.sys.WriteFile(next, []byte(text), 0o644); err != nil {
			return err
		}
		_, checkErr := d.sys.Run(ctx, host.Command{Name: "haproxy", Args: []string{"-c", "-q", "-f", next}, ReadOnly: true})
		if _, err := d.sys.Remove(next); err != nil {
			return err
		}
		if checkErr != nil {
			return fmt.Errorf("HAProxy refuses the new configuration, the old one stays: %w", checkErr)
		}
	}
	_, err := d.sys.WriteFile(configPath(database), []byte(text), 0o644)
	return err
}

// awaitMark waits until a database's HAProxy serves the configuration with that mark.
func (d *Driver) awaitMark(ctx context.Context, database, mark string) error {
	if d.waitFor(ctx, d.settle, func(ctx context.Context) bool { return d.runningMark(ctx, database) == mark }) {
		return nil
	}
	if ctx.Err() != nil {
		return ctx.Err()
	}
	return fmt.Errorf("HAProxy does not serve its configuration after %s%s", d.settle, router.LastWords(ctx, d.sys, unitName(database)))
}

// waitFor polls done until it is true, which is the answer, for at most limit.
func (d *Driver) waitFor(ctx context.Context, limit time.Duration, done func(context.Context) bool) bool {
	ctx, cancel := context.WithTimeout(ctx, limit)
	defer cancel()
	tick := time.NewTicker(poll)
	defer tick.Stop()
	for !done(ctx) {
		select {
		case <-ctx.Done():
			return false
		case <-tick.C:
		}
	}
	return true
}

// Status implements router.Driver.
func (d *Driver) Status(ctx context.Context) (router.Status, error) {
	return d.served.Status(ctx, func(ctx context.Context, database router.Database) (bool, error) {
		return d.runningMark(ctx, database.Name) != "", nil
	})
}
