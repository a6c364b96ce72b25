// Package haproxy is the balancer driver over HAProxy, from version 2.6 on.
//
// HAProxy runs as a systemd unit of its own, so requests are served on when the agent is not there, beside a haproxy.service
// that the machine may have for other purposes.
package haproxy

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"log/slog"
	"net"
	"path"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/atollhq/terraform-provider-atoll/internal/balancer"
	"github.com/atollhq/terraform-provider-atoll/internal/host"
)

// Driver implements balancer.Driver.
type Driver struct {
	sys    host.System
	log    *slog.Logger
	settle time.Duration
	dial   func(ctx context.Context, socket string) (net.Conn, error)

	mu sync.Mutex
	// mark is that of the configuration that was applied last, "" when there is none.
	mark string
}

var (
	_ balancer.Driver = (*Driver)(nil)
	_ host.Packager   = (*Driver)(nil)
)

// Options are the parts of a driver that a test replaces; the zero value is production.
type Options struct {
	// Settle is how long HAProxy may take to serve a new configuration, 10 s if zero.
	Settle time.Duration
	// Dial connects to a Unix socket of the machine, by its path there; nil means one of this machine.
	Dial func(ctx context.Context, socket string) (net.Conn, error)
}

// poll is how often the driver looks whether HAProxy serves what it was told.
const poll = 20 * time.Millisecond

// startPatience is how long HAProxy may take from its start until it answers.
const startPatience = 3 * time.Second

// attempts is how often HAProxy is told to read its configuration. A command is lost when it comes in the moment in which the
// first process replaces itself.
const attempts = 3

// New returns a driver for sys.
func New(sys host.System, log *slog.Logger) balancer.Driver { return NewWith(sys, log, Options{}) }

// NewWith returns a driver for sys with options.
func NewWith(sys host.System, log *slog.Logger, o Options) *Driver {
	d := &Driver{sys: sys, log: log, settle: o.Settle, dial: o.Dial}
	if d.settle == 0 {
		d.settle = 10 * time.Second
	}
	if d.dial == nil {
		d.dial = func(ctx context.Context, socket string) (net.Conn, error) {
			var dialer net.Dialer
			return dialer.DialContext(ctx, "unix", socket)
		}
	}
	return d
}

// Packages implements host.Packager.
func (*Driver) Packages() []host.Package {
	return []host.Package{
		{Name: "haproxy", Binary: "haproxy", Service: "haproxy.service"},
		{Name: "iproute2", Binary: "ip"},
		{Name: "nftables", Binary: "nft"},
	}
}

// Apply implements balancer.Driver.
func (d *Driver) Apply(ctx context.Context, c *balancer.Config) error {
	d.mu.Lock()
	defer d.mu.Unlock()
	if c == nil {
		d.mark = ""
		return d.remove(ctx)
	}
	if err := d.apply(ctx, c); err != nil {
		return fmt.Errorf("apply the proxy: %w", err)
	}
	return nil
}

func (d *Driver) apply(ctx context.Context, c *balancer.Config) error {
	old, err := d.readConfig()
	if err != nil {
		return err
	}
	unit, err := d.sys.Units().Status(ctx, unitName)
	if err != nil {
		return err
	}
	_, noIPv6 := d.sys.ReadFile("/proc/net/if_inet6")
	want, err := newConfig(c, noIPv6 == nil)
	if err != nil {
		return err
	}
	// What another program has would keep all services from being served.
	taken, problems := d.takenPorts(ctx, want, old, unit.Active)
	if len(taken) > 0 {
		reduced := without(c, taken)
		if len(reduced.Services) == 0 {
			return problems
		}
		if want, err = newConfig(&reduced, noIPv6 == nil); err != nil {
			return err
		}
	}
	return errors.Join(problems, d.put(ctx, want, old, unit))
}

// readConfig returns the configuration that is in place, "" when there is none.
func (d *Driver) readConfig() (string, error) {
	text, err := d.sys.ReadFile(configPath)
	if err != nil && !errors.Is(err, fs.ErrNotExist) {
		return "", err
	}
	return string(text), nil
}

// put makes HAProxy serve a configuration.
func (d *Driver) put(ctx context.Context, want config, old string, unit host.UnitStatus) error {
	if old != want.text || !d.bundlesThere(want) {
		if err := d.write(ctx, want); err != nil {
			return err
		}
	}
	d.mark = want.mark
	serves := unit.Active && d.runningMark(ctx) == want.mark
	changed, err := d.sys.Units().Ensure(ctx, serviceUnit())
	if err != nil || host.Recording(d.sys) {
		return err
	}
	switch {
	case unit.Active && !serves:
		err = d.reload(ctx, want.mark)
	case !serves || changed:
		err = d.awaitMark(ctx, want.mark)
	}
	if err == nil {
		return d.clean(want)
	}
	if old == "" || old == want.text || ctx.Err() != nil {
		return err
	}
	// The next start of the service must not meet what HAProxy could not do.
	_, restoreErr := d.sys.WriteFile(configPath, []byte(old), 0o644)
	return errors.Join(err, restoreErr)
}

// reload makes the running HAProxy serve the configuration that is in place, and returns when it does. One that does not even
// say what it serves, or takes no commands, is started again.
func (d *Driver) reload(ctx context.Context, mark string) error {
	running := ""
	answered := d.waitFor(ctx, min(d.settle, startPatience), func(ctx context.Context) bool {
		running = d.runningMark(ctx)
		return running != ""
	})
	if answered && running == mark {
		return nil // it has just been started
	}
	for range attempts {
		err := errSilent
		if answered {
			err = d.tellMaster(ctx)
		}
		if ctx.Err() != nil {
			return ctx.Err()
		}
		if errors.Is(err, errSilent) {
			d.log.Warn("HAProxy does not answer, restarting it", "error", err)
			if err := d.sys.Units().Restart(ctx, unitName); err != nil {
				return err
			}
			return d.awaitMark(ctx, mark)
		}
		if err != nil {
			return err
		}
		if d.waitFor(ctx, d.settle/attempts, func(ctx context.Context) bool { return d.runningMark(ctx) == mark }) {
			return nil
		}
	}
	return d.notServed(ctx)
}

// write puts a configuration in place that HAProxy finds good.
func (d *Driver) write(ctx context.Context, want config) error {
	for file, bundle := range want.bundles {
		if _, err := d.sys.WriteFile(file, []byte(bundle), 0o600); err != nil {
			return err
		}
	}
	if !host.Recording(d.sys) {
		if _, err := d.sys.WriteFile(nextPath, []byte(want.text), 0o644); err != nil {
			return err
		}
		_, checkErr := d.sys.Run(ctx, host.Command{Name: "haproxy", Args: []string{"-c", "-q", "-f", nextPath}, ReadOnly: true})
		if _, err := d.sys.Remove(nextPath); err != nil {
			return err
		}
		if checkErr != nil {
			return fmt.Errorf("HAProxy refuses the new configuration, the old one stays: %w", checkErr)
		}
	}
	_, err := d.sys.WriteFile(configPath, []byte(want.text), 0o644)
	return err
}

func (d *Driver) bundlesThere(want config) bool {
	for file, bundle := range want.bundles {
		if have, err := d.sys.ReadFile(file); err != nil || string(have) != bundle {
			return false
		}
	}
	return true
}

// clean removes the certificates and keys that the configuration does not use.
func (d *Driver) clean(want config) error {
	names, err := d.sys.ReadDir(bundleDir)
	if errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	if err != nil {
		return err
	}
	for _, name := range names {
		if _, used := want.bundles[path.Join(bundleDir, name)]; used {
			continue
		}
		if _, err := d.sys.Remove(path.Join(bundleDir, name)); err != nil {
			return err
		}
	}
	return nil
}

// awaitMark waits until HAProxy serves the configuration with that mark.
func (d *Driver) awaitMark(ctx context.Context, mark string) error {
	if d.waitFor(ctx, d.settle, func(ctx context.Context) bool { return d.runningMark(ctx) == mark }) {
		return nil
	}
	return d.notServed(ctx)
}

func (d *Driver) notServed(ctx context.Context) error {
	if ctx.Err() != nil {
		return ctx.Err()
	}
	return fmt.Errorf("HAProxy does not serve its new configuration after %s%s", d.settle, d.lastWords(ctx))
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

// lastWords returns the end of what HAProxy has said, for people.
func (d *Driver) lastWords(ctx context.Context) string {
	out, err := d.sys.Run(ctx, host.Command{
		Name: "journalctl", Args: []string{"--unit=" + unitName, "--lines=5", "--output=cat", "--no-pager"}, ReadOnly: true,
	})
	words := strings.TrimSpace(string(out.Stdout))
	if err != nil || words == "" {
		return "; see journalctl -u " + unitName
	}
	return "; it says: " + strings.Join(strings.Split(words, "\n"), " / ")
}

// remove takes away everything that Apply made.
func (d *Driver) remove(ctx context.Context) error {
	var problems []error
	if _, err := d.sys.Units().Remove(ctx, unitName); err != nil {
		problems = append(problems, err)
	}
	for _, dir := range []string{configDir, runDir} {
		if _, err := d.sys.Remove(dir); err != nil {
			problems = append(problems, err)
		}
	}
	if err := errors.Join(problems...); err != nil {
		return fmt.Errorf("remove the proxy: %w", err)
	}
	return nil
}

// without returns a configuration without some ports, and without the services that have no port then.
func without(c *balancer.Config, ports []int) balancer.Config {
	var out balancer.Config
	for _, s := range c.Services {
		if slices.Contains(ports, s.Port) {
			s.Port = 0
		}
		if slices.Contains(ports, s.TLSPort) {
			s.TLSPort = 0
		}
		if s.Port != 0 || s.TLSPort != 0 {
			out.Services = append(out.Services, s)
		}
	}
	return out
}
