package mysql

import (
	"context"
	"encoding/hex"
	"errors"
	"fmt"
	"io/fs"
	"net/netip"
	"slices"
	"strings"
	"time"

	"github.com/atollhq/terraform-provider-atoll/internal/database"
	"github.com/atollhq/terraform-provider-atoll/internal/host"
	"github.com/atollhq/terraform-provider-atoll/internal/spec"
)

// Apply implements database.Driver.
func (d *Driver) Apply(ctx context.Context, m *database.Member) error {
	d.change.Lock()
	defer d.change.Unlock()
	if m == nil {
		if err := d.remove(ctx); err != nil {
			return fmt.Errorf("remove the server: %w", err)
		}
		d.setMember(nil)
		return nil
	}
	if err := d.apply(ctx, m); err != nil {
		return fmt.Errorf("apply the member of database %s: %w", m.Database, err)
	}
	return nil
}

func (d *Driver) apply(ctx context.Context, m *database.Member) error {
	if err := d.ownData(m.Group); err != nil {
		return err
	}
	meminfo, err := d.sys.ReadFile("/proc/meminfo")
	if err != nil {
		return fmt.Errorf("read how much memory the machine has: %w", err)
	}
	want := render(settings(m, memoryOf(string(meminfo))))
	refused, err := d.configure(ctx, m, want)
	if err != nil {
		return err
	}
	d.setMember(m)
	if err := d.start(ctx); err != nil || host.Recording(d.sys) {
		return err
	}
	return errors.Join(d.ready(ctx, m), refused)
}

// ownData fails when there is data that is not the group's.
func (d *Driver) ownData(group string) error {
	found, err := d.sys.ReadDir(dataDir)
	switch {
	case errors.Is(err, fs.ErrNotExist), err == nil && len(found) == 0:
		return nil
	case err != nil:
		return fmt.Errorf("look for data: %w", err)
	}
	origin, err := d.sys.ReadFile(originPath)
	switch {
	case errors.Is(err, fs.ErrNotExist):
		return fmt.Errorf("%s holds data that Atoll has not made: move it away, then the member gets a copy of the group's", dataDir)
	case err != nil:
		return fmt.Errorf("look whose data %s is: %w", dataDir, err)
	}
	if was := strings.TrimSpace(string(origin)); was != group {
		return fmt.Errorf("%s holds data of the group %s, not of %s: move %s away, then the member gets a copy of the group's", dataDir, was, group, currentDir)
	}
	return nil
}

// configure puts the configuration in place when the server finds it good, and tells a running server what it can take without
// a restart. With settings that are refused, the old configuration stays in place and goes on to be good for everything, and
// refused says why; without an old one that is an error.
func (d *Driver) configure(ctx context.Context, m *database.Member, want string) (refused, err error) {
	old, err := d.sys.ReadFile(configPath)
	if err != nil && !errors.Is(err, fs.ErrNotExist) {
		return nil, err
	}
	err = d.acceptable(ctx, m, string(old), want)
	var settings *database.SettingsError
	if len(old) > 0 && errors.As(err, &settings) {
		return err, nil
	}
	if err != nil {
		return nil, err
	}
	for _, f := range []struct{ path, text string }{
		{preparePath, prepare(m.Group, m.Address.Addr().String(), hexAddress(m.Address.Addr()))},
		{initPath, initStatements},
		{configPath, want},
	} {
		if _, err := d.sys.WriteFile(f.path, []byte(f.text), 0o600); err != nil {
			return nil, err
		}
	}
	return nil, nil
}

// acceptable fails with *database.SettingsError when a configuration holds what a member cannot have or the server does not take.
// A running server has been told what it can take at once when it does not fail.
func (d *Driver) acceptable(ctx context.Context, m *database.Member, old, want string) error {
	if problems := spec.ValidateMySQLSettings("settings", m.Settings); len(problems) > 0 {
		return &database.SettingsError{Message: problems.Error()}
	}
	if old != want {
		if err := d.judge(ctx, want); err != nil {
			return err
		}
	}
	return d.live(ctx, parse(want))
}

// hexAddress is an IPv6 address as /proc/net/if_inet6 has it, and what is never there for others.
func hexAddress(a netip.Addr) string {
	if !a.Is6() {
		return "none"
	}
	raw := a.As16()
	return hex.EncodeToString(raw[:])
}

// judge asks the program what it thinks of a configuration, without starting a server.
func (d *Driver) judge(ctx context.Context, text string) (err error) {
	if host.Recording(d.sys) {
		return nil
	}
	if _, err := d.sys.WriteFile(nextPath, []byte(text), 0o600); err != nil {
		return err
	}
	defer func() {
		_, removeErr := d.sys.Remove(nextPath)
		err = errors.Join(err, removeErr)
	}()
	// As the server's user, which the agent cannot become.
	_, err = d.sys.Run(ctx, host.Command{Name: "systemd-run", Args: []string{
		"--quiet", "--wait", "--pipe", "--collect", "--service-type=exec", "--property=User=mysql", "--property=Group=mysql",
		"--property=LoadCredential=my.cnf:" + nextPath, "--property=AppArmorProfile=-unconfined", "--property=PrivateTmp=yes",
		"/bin/sh", "-c", unprofiled + `; exec mysqld --defaults-file="$CREDENTIALS_DIRECTORY/my.cnf" --validate-config`,
	}, ReadOnly: true})
	var failed *host.CommandError
	if errors.As(err, &failed) {
		return &database.SettingsError{Message: complaints(failed.Output)}
	}
	return err
}

// complaints returns the errors of what the server wrote to its log, without their times and numbers of threads.
func complaints(log string) string {
	var out []string
	for line := range strings.Lines(log) {
		if _, text, ok := strings.Cut(line, "[ERROR] "); ok {
			for strings.HasPrefix(text, "[") {
				_, text, _ = strings.Cut(text, "] ")
			}
			if text = strings.TrimSpace(text); text != "Aborting" && !slices.Contains(out, text) {
				out = append(out, text)
			}
		}
	}
	if len(out) == 0 {
		return strings.TrimSpace(log)
	}
	return strings.Join(out, " / ")
}

// startPatience is how long a server may take from its start until it answers, the making of its data included. One that mends
// a crash may take longer; then the next Apply finds it.
const startPatience = 90 * time.Second

// start makes the unit run. A server in a group is not restarted by it, nor one that is still on its way up.
func (d *Driver) start(ctx context.Context) error {
	unit := serviceUnit()
	now, err := d.sys.Units().Status(ctx, unitName)
	if err != nil {
		return err
	}
	if now.Exists && (now.Active || now.State == "activating") {
		file, err := d.sys.ReadFile(host.UnitDirectory + "/" + unitName)
		if err != nil && !errors.Is(err, fs.ErrNotExist) {
			return err
		}
		if string(file) == string(unit.Content) && now.Enabled && !now.Stale {
			return nil
		}
		if now.Active {
			// What is in a group gets its new unit with the next restart, and so does what does not say whether it is.
			if in, err := d.inGroup(ctx); err != nil || in {
				return nil //nolint:nilerr // see above
			}
		}
	}
	_, err = d.sys.Units().Ensure(ctx, unit)
	if err != nil {
		return fmt.Errorf("start the server: %w%s", err, d.lastWords(ctx))
	}
	return nil
}

// ready waits until the server answers and has the accounts that it needs before it can be in a group.
func (d *Driver) ready(ctx context.Context, m *database.Member) error {
	var last error
	up, err := waitFor(ctx, startPatience, func(ctx context.Context) (bool, error) {
		ctx, cancel := context.WithTimeout(ctx, mostPatience)
		defer cancel()
		if last = d.local.PingContext(ctx); last == nil {
			return true, nil
		}
		st, err := d.sys.Units().Status(ctx, unitName)
		if err == nil && st.State == "failed" {
			return false, fmt.Errorf("the server does not start%s", d.lastWords(ctx))
		}
		return false, nil
	})
	if err != nil {
		return err
	}
	if !up {
		if ctx.Err() != nil {
			return ctx.Err()
		}
		return fmt.Errorf("the server does not answer after %s: %w%s", startPatience, last, d.lastWords(ctx))
	}
	if err := d.checkVersion(ctx, m); err != nil {
		return err
	}
	if err := d.harmless(ctx); err != nil {
		return fmt.Errorf("see to it that the server outside of the group takes no writes: %w", err)
	}
	if err := d.speak(ctx); err != nil {
		return err
	}
	if err := d.localAccounts(ctx, m); err != nil {
		return err
	}
	return d.checkSettings(ctx, m)
}

// checkVersion fails when the server is of another release series than the database.
func (d *Driver) checkVersion(ctx context.Context, m *database.Member) error {
	var version string
	if err := d.local.QueryRowContext(ctx, "SELECT @@GLOBAL.version").Scan(&version); err != nil {
		return fmt.Errorf("ask the server for its version: %w", err)
	}
	if m.Version != "" && version != m.Version && !strings.HasPrefix(version, m.Version+".") {
		return fmt.Errorf("the node has MySQL %s, the database is of the series %s: install that on the node, or change the database's version", version, m.Version)
	}
	return nil
}

// lastWords returns the end of what the server has said, for people.
func (d *Driver) lastWords(ctx context.Context) string {
	out, err := d.sys.Run(ctx, host.Command{
		Name: "journalctl", Args: []string{"--unit=" + unitName, "--lines=40", "--output=cat", "--no-pager"}, ReadOnly: true,
	})
	words := complaints(string(out.Stdout))
	if err != nil || words == "" {
		return d.fullDisk(ctx) + "; see journalctl -u " + unitName
	}
	const most = 800
	if len(words) > most {
		words = "…" + strings.ToValidUTF8(words[len(words)-most:], "")
	}
	return d.fullDisk(ctx) + "; it says: " + strings.Join(strings.Split(words, "\n"), " / ")
}

// Restart implements database.Driver.
func (d *Driver) Restart(ctx context.Context) error {
	d.change.Lock()
	defer d.change.Unlock()
	m, err := d.applied()
	if err != nil {
		return err
	}
	// One that does not answer is in no state to leave in order.
	if in, err := d.inGroup(ctx); err == nil && in {
		if err := d.leave(ctx, m); err != nil {
			return fmt.Errorf("leave the group before the restart: %w", err)
		}
	}
	// It restarts a server whose unit has changed.
	changed, err := d.sys.Units().Ensure(ctx, serviceUnit())
	if err == nil && !changed {
		err = d.sys.Units().Restart(ctx, unitName)
	}
	if err != nil {
		return fmt.Errorf("restart the server: %w%s", err, d.lastWords(ctx))
	}
	return d.ready(ctx, m)
}

// remove takes away everything that Apply made but the data, which it moves aside.
func (d *Driver) remove(ctx context.Context) error {
	if _, err := d.sys.Units().Remove(ctx, unitName); err != nil {
		return err
	}
	origin, err := d.sys.ReadFile(originPath)
	switch {
	case err == nil:
		aside := fmt.Sprintf("%s/aside-%s-%s", stateDir, time.Now().UTC().Format("20060102T150405Z"), strings.TrimSpace(string(origin)))
		// The agent may not write there; systemd may.
		_, err := d.sys.Run(ctx, host.Command{Name: "systemd-run", Args: []string{
			"--quiet", "--wait", "--pipe", "--collect", "--service-type=exec", "mv", "-T", currentDir, aside,
		}})
		if err != nil {
			return fmt.Errorf("move the data aside: %w", err)
		}
		d.log.Warn("the data of the removed member is kept aside", "path", aside)
	case !errors.Is(err, fs.ErrNotExist):
		return err
	}
	for _, path := range []string{configDir, livePath} {
		if _, err := d.sys.Remove(path); err != nil {
			return err
		}
	}
	return nil
}
