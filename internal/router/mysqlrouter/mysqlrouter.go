// Package mysqlrouter is the router driver over MySQL Router, from version 8.4 on.
//
// Router knows one group per process, so each database has a unit of its own, and a change of one interrupts no connection to
// another. Router is told of the members once, and learns of changes from the group itself: Apply does not restart it for them.
package mysqlrouter

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"log/slog"
	"net"
	"regexp"
	"slices"
	"strconv"
	"strings"
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
	served router.Served

	// applying has one Apply at a time, and guards refused: what Router did not take, by database.
	applying sync.Mutex
	refused  map[string]refusal
}

// refusal is a configuration that Router did not take.
type refusal struct {
	digest string
	err    error
	at     time.Time
}

// again is how long a configuration that was refused is left alone: each attempt interrupts the connections through the one that
// works.
const again = 5 * time.Minute

var (
	_ router.Driver    = (*Driver)(nil)
	_ router.Restarter = (*Driver)(nil)
	_ host.Packager    = (*Driver)(nil)
)

// Options are the parts of a driver that a test replaces; the zero value is production.
type Options struct {
	// Settle is how long Router may take from its start until it listens, 10 s if zero.
	Settle time.Duration
	// Dial connects to an address of the node; nil means this machine.
	Dial func(ctx context.Context, network, address string) (net.Conn, error)
}

// poll is how often the driver looks whether Router listens.
const poll = 50 * time.Millisecond

// New returns a driver for sys.
func New(sys host.System, log *slog.Logger) router.Driver { return NewWith(sys, log, Options{}) }

// NewWith returns a driver for sys with options.
func NewWith(sys host.System, log *slog.Logger, o Options) *Driver {
	d := &Driver{sys: sys, log: log, settle: o.Settle, served: router.Served{Routes: router.Routes{Dial: o.Dial}}, refused: map[string]refusal{}}
	if d.settle == 0 {
		d.settle = 10 * time.Second
	}
	return d
}

// Packages implements host.Packager.
func (*Driver) Packages() []host.Package {
	return []host.Package{{Name: "mysql-router", Binary: "mysqlrouter"}, {Name: "iproute2", Binary: "ip"}}
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
		want, err := newFiles(database, ipv6)
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
		if _, err := d.sys.Units().Remove(ctx, unitName(name)); err != nil {
			problems = append(problems, fmt.Errorf("remove the router of database %q: %w", name, err))
			continue
		}
		for _, dir := range []string{runDir(name), databaseDir(name)} {
			if _, err := d.sys.Remove(dir); err != nil {
				problems = append(problems, fmt.Errorf("remove the router of database %q: %w", name, err))
			}
		}
	}
	if len(c.Databases) == 0 && len(problems) == 0 {
		if _, err := d.sys.Remove(configDir); err != nil {
			return fmt.Errorf("remove the routers: %w", err)
		}
	}
	return errors.Join(problems...)
}

// apply makes the router of one database. What was there before comes back when Router does not take the new configuration.
func (d *Driver) apply(ctx context.Context, database router.Database, want files) error {
	name := unitName(database.Name)
	now, err := d.sys.Units().Status(ctx, name)
	if err != nil {
		return err
	}
	old, err := d.read(database.Name)
	if err != nil {
		return err
	}
	if err := router.TakenPort(ctx, d.sys, database, ownPorts(old.config, now.Active)); err != nil {
		return err
	}
	if r := d.refused[database.Name]; r.digest == want.digest && time.Since(r.at) < again {
		return r.err
	}
	delete(d.refused, database.Name)
	if err := d.write(database.Name, want); err != nil {
		return err
	}
	changed, err := d.sys.Units().Ensure(ctx, serviceUnit(database.Name, want.digest))
	if err != nil || host.Recording(d.sys) {
		return err
	}
	if !changed && d.lost(database) {
		d.log.Info("the router knows none of the members any more, starting it again", "database", database.Name)
		if err := d.sys.Units().Restart(ctx, name); err != nil {
			return err
		}
		changed = true
	}
	if !changed {
		return nil
	}
	err = d.awaitListening(ctx, database)
	if err == nil || old.unit == nil || ctx.Err() != nil || bytes.Equal(old.config, want.config) && bytes.Equal(old.keyring, want.keyring) {
		return err
	}
	d.refused[database.Name] = refusal{want.digest, err, time.Now()}
	return errors.Join(err, d.restore(ctx, database.Name, old))
}

var portLine = regexp.MustCompile(`(?m)^bind_port=(\d+)$`)

// ownPorts returns the ports of a configuration that Router runs with.
func ownPorts(config []byte, running bool) map[int]bool {
	own := map[int]bool{}
	for _, m := range portLine.FindAllSubmatch(config, -1) {
		if port, err := strconv.Atoi(string(m[1])); err == nil && running {
			own[port] = true
		}
	}
	return own
}

// kept is what a database's router had before.
type kept struct {
	files
	unit []byte
}

// read returns what is in place for a database.
func (d *Driver) read(database string) (kept, error) {
	var out kept
	for file, to := range map[string]*[]byte{
		databaseDir(database) + "/mysqlrouter.conf":   &out.config,
		databaseDir(database) + "/keyring":            &out.keyring,
		databaseDir(database) + "/master.key":         &out.masterKey,
		databaseDir(database) + "/state.json":         &out.state,
		host.UnitDirectory + "/" + unitName(database): &out.unit,
	} {
		data, err := d.sys.ReadFile(file)
		if err != nil && !errors.Is(err, fs.ErrNotExist) {
			return kept{}, err
		}
		*to = data
	}
	return out, nil
}

// write puts a database's files in place. The unit comes last: it is what tells that they changed.
func (d *Driver) write(database string, f files) error {
	for _, file := range []struct {
		name string
		data []byte
		mode fs.FileMode
	}{
		{"mysqlrouter.conf", f.config, 0o644}, {"keyring", f.keyring, 0o600}, {"master.key", f.masterKey, 0o600}, {"state.json", f.state, 0o644},
	} {
		if _, err := d.sys.WriteFile(databaseDir(database)+"/"+file.name, file.data, file.mode); err != nil {
			return err
		}
	}
	return nil
}

// restore puts back what a router had before.
func (d *Driver) restore(ctx context.Context, database string, old kept) error {
	if err := d.write(database, old.files); err != nil {
		return err
	}
	unit := serviceUnit(database, "")
	unit.Content = old.unit
	_, err := d.sys.Units().Ensure(ctx, unit)
	return err
}

// lost tells whether a running Router knows of none of the members: all that it has learned of were replaced while it could reach
// nobody.
func (d *Driver) lost(database router.Database) bool {
	data, err := d.sys.ReadFile(runDir(database.Name) + "/state.json")
	var s state
	if err != nil || json.Unmarshal(data, &s) != nil {
		return false // it is just being written
	}
	return !slices.ContainsFunc(servers(database), func(server string) bool { return slices.Contains(s.Cache.Servers, server) })
}

// awaitListening waits until Router has its ports, or goes on without having met a member.
func (d *Driver) awaitListening(ctx context.Context, database router.Database) error {
	ctx, cancel := context.WithTimeout(ctx, d.settle)
	defer cancel()
	tick := time.NewTicker(poll)
	defer tick.Stop()
	started := time.Now()
	first := 0
	for {
		now, err := d.sys.Units().Status(ctx, unitName(database.Name))
		if err != nil {
			return err
		}
		if first == 0 {
			first = now.MainPID
		}
		if !now.Active || now.MainPID != first {
			return fmt.Errorf("the router ends when it is started%s", router.LastWords(context.WithoutCancel(ctx), d.sys, unitName(database.Name)))
		}
		listening, err := router.Listeners(ctx, d.sys)
		if err != nil {
			return err
		}
		if _, there := listening[database.WritePort]; there || time.Since(started) > d.settle/4 {
			return nil
		}
		select {
		case <-ctx.Done():
			return ctx.Err()
		case <-tick.C:
		}
	}
}

// Restart implements router.Restarter.
func (d *Driver) Restart(ctx context.Context, database string) error {
	d.applying.Lock()
	defer d.applying.Unlock()
	unit, err := d.sys.Units().Status(ctx, unitName(database))
	if err != nil || !unit.Exists {
		return err
	}
	d.log.Info("starting the router again", "database", database, "unit", strings.TrimPrefix(router.LastWords(ctx, d.sys, unitName(database)), "; "))
	return d.sys.Units().Restart(ctx, unitName(database))
}

// Status implements router.Driver.
func (d *Driver) Status(ctx context.Context) (router.Status, error) {
	return d.served.Status(ctx, func(ctx context.Context, database router.Database) (bool, error) {
		unit, err := d.sys.Units().Status(ctx, unitName(database.Name))
		return unit.Active, err
	})
}
