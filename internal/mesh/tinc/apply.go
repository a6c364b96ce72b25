package tinc

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"maps"
	"path"
	"slices"
	"strings"
	"time"

	"github.com/atollhq/terraform-provider-atoll/internal/host"
	"github.com/atollhq/terraform-provider-atoll/internal/topology"
)

const (
	poll = 20 * time.Millisecond
	// grace is how long tincd is left alone after it said that it is ready.
	grace = 300 * time.Millisecond
)

// marker says which peers the running tincd has read. It lies beside tincd's log, so it is gone after a boot.
type marker struct {
	PID   int    `json:"pid"`
	Peers string `json:"peers"`
}

func (c config) marker(pid int) marker {
	peers := sha256.New()
	peers.Write([]byte(c.connectTo))
	for _, name := range slices.Sorted(maps.Keys(c.hosts)) {
		if name != c.self {
			_, _ = fmt.Fprintf(peers, "%s\n%s\n", name, c.hosts[name]) // a hash never fails
		}
	}
	return marker{PID: pid, Peers: hex.EncodeToString(peers.Sum(nil))}
}

// apply makes the node as c says. The order matters: whoever is removed is shut out first, and the marker is written last,
// so that an agent which dies on the way does the rest over when it is back.
func (d *Driver) apply(ctx context.Context, v *topology.View, c config) error {
	if err := d.applyFilter(ctx, c); err != nil {
		return err
	}
	if err := d.dropPeers(ctx, c); err != nil {
		return err
	}
	if err := d.writeFiles(c); err != nil {
		return err
	}
	before, err := d.sys.Units().Status(ctx, unitName)
	if err != nil {
		return err
	}
	if _, err := d.sys.Units().Ensure(ctx, serviceUnit()); err != nil {
		return err
	}
	if host.Recording(d.sys) {
		return nil
	}
	now, err := d.sys.Units().Status(ctx, unitName)
	if err != nil {
		return err
	}
	switch started := !before.Active || before.MainPID != now.MainPID; {
	case started:
	case d.startedWith() != c.core():
		if err := d.sys.Units().Restart(ctx, unitName); err != nil {
			return err
		}
	case d.readMarker() != c.marker(now.MainPID):
		if err := d.hangUp(ctx); err != nil {
			return err
		}
	}
	if err := d.ensureInterface(ctx, v); err != nil {
		return err
	}
	return d.writeMarker(ctx, c)
}

// applyFilter loads the filter. The files are for tinc-up, so that it is there before the interface is.
func (d *Driver) applyFilter(ctx context.Context, c config) error {
	if _, err := d.sys.WriteFile(filterPath, []byte(c.filter), 0o644); err != nil {
		return err
	}
	var coming strings.Builder
	for _, name := range slices.Sorted(maps.Keys(c.holds)) {
		if _, err := d.sys.WriteFile(path.Join(holdDir, name), []byte(c.holds[name]), 0o644); err != nil {
			return err
		}
		if !slices.ContainsFunc(c.names[name], d.hasPeer) {
			coming.WriteString(strings.ReplaceAll(c.holds[name], holdWord, holdAway))
		}
	}
	mark, err := d.filterMark(ctx)
	if err != nil {
		return err
	}
	if mark != nil && *mark == markOf(c.filter) {
		return nil
	}
	if err := d.run(ctx, host.Command{Name: "nft", Args: []string{"-f", filterPath}}); err != nil {
		return err
	}
	if len(d.away) > 0 {
		// The new table has forgotten them.
		coming.WriteString(d.awayElements(d.away))
	}
	if coming.Len() == 0 {
		return nil
	}
	return d.run(ctx, host.Command{Name: "nft", Args: []string{"-f", "-"}, Stdin: []byte(coming.String())})
}

// hasPeer tells whether there is a host file of that name.
func (d *Driver) hasPeer(name string) bool {
	_, err := d.sys.ReadFile(path.Join(hostsDir, name))
	return !errors.Is(err, fs.ErrNotExist)
}

// dropPeers removes the host file of every node that is no peer any more or whose file changes, and makes tincd drop its
// connection and its address. tincd closes a connection for a changed file too, but tells a change by whole seconds of the
// file's time, so a second change within one second would be missed and a replaced key would stay in use.
func (d *Driver) dropPeers(ctx context.Context, c config) error {
	names, err := d.sys.ReadDir(hostsDir)
	if errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	if err != nil {
		return fmt.Errorf("list the mesh's peers: %w", err)
	}
	var dropped []string
	for _, name := range names {
		want, wanted := c.hosts[name]
		if name == c.self {
			continue
		}
		file := path.Join(hostsDir, name)
		if wanted {
			if have, err := d.sys.ReadFile(file); err == nil && string(have) == want {
				continue
			}
		}
		if _, err := d.sys.Remove(file); err != nil {
			return err
		}
		if !wanted {
			if _, err := d.sys.Remove(path.Join(holdDir, name)); err != nil {
				return err
			}
		}
		if isNameOf(name, c.self) {
			continue // under its own old name the node is started again anyway
		}
		dropped = append(dropped, name)
	}
	if len(dropped) == 0 || host.Recording(d.sys) {
		return nil
	}
	// From here on what tincd has read is not what the marker says.
	if _, err := d.sys.Remove(markerPath); err != nil {
		return err
	}
	running, err := d.sys.Units().Status(ctx, unitName)
	if err != nil || !running.Active {
		return err
	}
	d.log.Info("dropping mesh peers", "peers", dropped)
	return d.hangUp(ctx)
}

func (d *Driver) writeFiles(c config) error {
	for _, name := range slices.Sorted(maps.Keys(c.hosts)) {
		if _, err := d.sys.WriteFile(path.Join(hostsDir, name), []byte(c.hosts[name]), 0o644); err != nil {
			return err
		}
	}
	if _, err := d.sys.WriteFile(mainPath, []byte(c.main+c.connectTo), 0o644); err != nil {
		return err
	}
	if _, err := d.sys.WriteFile(comesPath, []byte(comesScript()), 0o755); err != nil {
		return err
	}
	if _, err := d.sys.WriteFile(goesPath, []byte(goesScript()), 0o755); err != nil {
		return err
	}
	// Last, since it is what says which configuration tincd was started with.
	_, err := d.sys.WriteFile(upPath, []byte(c.upScript()), 0o755)
	return err
}

// startedWith returns the core that the running tincd was started with, as tinc-up noted it.
func (d *Driver) startedWith() string {
	text, err := d.sys.ReadFile(corePath)
	if err != nil {
		return "" // unknown, so tincd is started again
	}
	return strings.TrimSpace(string(text))
}

// hangUp makes tincd read its peers again. It returns when tincd has taken the signal, which is when it has done
// everything that an earlier one asked for. A tincd that does not obey is started again, which interrupts every link but
// leaves no doubt.
func (d *Driver) hangUp(ctx context.Context) error {
	if err := d.awaitReady(ctx); err != nil {
		return err
	}
	before := count(d.lines(), hangupMessage)
	if err := d.sys.Units().Signal(ctx, unitName, "HUP"); err != nil {
		return err
	}
	err := d.waitFor(ctx, "take a signal", func() (bool, error) { return count(d.lines(), hangupMessage) > before, nil })
	if err == nil || ctx.Err() != nil {
		return err
	}
	d.log.Warn("tincd does not obey, restarting it", "error", err)
	return d.sys.Units().Restart(ctx, unitName)
}

// awaitReady waits for tincd to be past its start: a signal that comes before it is ready for it kills tincd or, while it
// writes its log, stops it for ever. It has a few lines to write after the one that says it is ready.
func (d *Driver) awaitReady(ctx context.Context) error {
	unit, err := d.sys.Units().Status(ctx, unitName)
	if err != nil || unit.MainPID == d.ready {
		return err
	}
	err = d.waitFor(ctx, "be ready", func() (bool, error) {
		lines := d.lines()
		return count(lines, readyMessage)+count(lines, emptiedMessage) > 0, nil
	})
	if err != nil {
		return fmt.Errorf("%w; tincd says: %s", err, d.lastWords())
	}
	select {
	case <-ctx.Done():
		return ctx.Err()
	case <-time.After(grace):
	}
	d.ready = unit.MainPID
	return nil
}

// lines returns what the running tincd has logged.
func (d *Driver) lines() []string {
	log, err := d.sys.ReadFile(logPath)
	if err != nil {
		return nil // nothing yet
	}
	lines, _ := messages(string(log))
	return sinceStart(lines)
}

// waitFor polls done until it is true, for at most d.settle.
func (d *Driver) waitFor(ctx context.Context, what string, done func() (bool, error)) error {
	ctx, cancel := context.WithTimeout(ctx, d.settle)
	defer cancel()
	tick := time.NewTicker(poll)
	defer tick.Stop()
	for {
		ok, err := done()
		if ok {
			return nil
		}
		select {
		case <-ctx.Done():
			return errors.Join(fmt.Errorf("wait for tincd to %s: %w", what, ctx.Err()), err)
		case <-tick.C:
		}
	}
}

func (d *Driver) device(ctx context.Context) (host.NetDevice, error) {
	return host.LookAtNetDevice(ctx, d.sys, interfaceName)
}

// awaitInterface waits for tincd to make its interface.
func (d *Driver) awaitInterface(ctx context.Context) error {
	err := d.waitFor(ctx, "make the interface "+interfaceName, func() (bool, error) {
		st, err := d.device(ctx)
		return st.Exists, err
	})
	if err != nil {
		return fmt.Errorf("%w; tincd says: %s", err, d.lastWords())
	}
	return nil
}

// ensureInterface gives the interface its address where tinc-up did not or somebody took it away since.
func (d *Driver) ensureInterface(ctx context.Context, v *topology.View) error {
	if err := d.awaitInterface(ctx); err != nil {
		return err
	}
	want := ownPrefix(v)
	st, err := d.device(ctx)
	if err != nil {
		return err
	}
	if st.Up && slices.Contains(st.Addresses, want) {
		return nil
	}
	for _, args := range [][]string{
		{"link", "set", "dev", interfaceName, "mtu", fmt.Sprint(MTU), "up"},
		{"address", "replace", want.String(), "dev", interfaceName},
	} {
		if err := d.run(ctx, host.Command{Name: "ip", Args: args}); err != nil {
			return err
		}
	}
	return nil
}

// lastWords returns the end of tincd's log, for people.
func (d *Driver) lastWords() string {
	lines := d.lines()
	if len(lines) == 0 {
		return "nothing"
	}
	return strings.Join(lines[max(0, len(lines)-5):], " / ")
}

func (d *Driver) readMarker() marker {
	var m marker
	text, err := d.sys.ReadFile(markerPath)
	if err != nil || json.Unmarshal(text, &m) != nil {
		return marker{} // unknown, so tincd is told to read everything again
	}
	return m
}

func (d *Driver) writeMarker(ctx context.Context, c config) error {
	now, err := d.sys.Units().Status(ctx, unitName)
	if err != nil {
		return err
	}
	text, err := json.Marshal(c.marker(now.MainPID))
	if err != nil {
		return fmt.Errorf("note what tincd has read: %w", err)
	}
	_, err = d.sys.WriteFile(markerPath, text, 0o600)
	return err
}
