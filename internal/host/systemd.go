package host

import (
	"context"
	"fmt"
	"path"
	"strconv"
	"strings"
	"time"
)

// UnitDirectory is where unit files are written.
const UnitDirectory = "/etc/systemd/system"

// systemd drives systemctl rather than D-Bus: every change is then a command that a plan can print and a person can
// repeat, and it works the same inside a container that is only entered by namespaces. How a unit is, which is asked all
// the time, systemd is asked directly where that is possible.
type systemd struct {
	sys System
	bus *bus
}

func (u systemd) systemctl(ctx context.Context, readOnly bool, args ...string) (Output, error) {
	return u.sys.Run(ctx, Command{Name: "systemctl", Args: args, ReadOnly: readOnly})
}

func (u systemd) Ensure(ctx context.Context, unit Unit) (bool, error) {
	written, err := u.sys.WriteFile(path.Join(UnitDirectory, unit.Name), unit.Content, 0o644)
	if err != nil {
		return false, err
	}
	now, err := u.Status(ctx, unit.Name)
	if err != nil {
		return written, err
	}
	// Stale without a change of ours: the agent died between writing and this.
	changed := written || now.Stale
	if changed {
		if _, err := u.systemctl(ctx, false, "daemon-reload"); err != nil {
			return true, err
		}
	}
	if now.Enabled != unit.Enabled {
		verb := "disable"
		if unit.Enabled {
			verb = "enable"
		}
		if _, err := u.systemctl(ctx, false, verb, unit.Name); err != nil {
			return changed, err
		}
		changed = true
	}
	switch {
	case unit.Running && (written || now.Stale || !now.Active):
		return true, u.Restart(ctx, unit.Name)
	case !unit.Running && now.Active:
		return true, u.Stop(ctx, unit.Name)
	default:
		return changed, nil
	}
}

func (u systemd) Reload(ctx context.Context, name string) error {
	_, err := u.systemctl(ctx, false, "reload", name)
	return err
}

func (u systemd) Restart(ctx context.Context, name string) error {
	_, err := u.systemctl(ctx, false, "restart", name)
	return err
}

func (u systemd) Stop(ctx context.Context, name string) error {
	now, err := u.Status(ctx, name)
	if err != nil || !now.Exists {
		return err
	}
	_, err = u.systemctl(ctx, false, "stop", name)
	return err
}

func (u systemd) Signal(ctx context.Context, name, signal string) error {
	_, err := u.systemctl(ctx, false, "kill", "--kill-whom=main", "--signal="+signal, name)
	return err
}

func (u systemd) Remove(ctx context.Context, name string) (bool, error) {
	now, err := u.Status(ctx, name)
	if err != nil {
		return false, err
	}
	if now.Exists {
		if _, err := u.systemctl(ctx, false, "disable", "--now", name); err != nil {
			return false, err
		}
	}
	removed, err := u.sys.Remove(path.Join(UnitDirectory, name))
	if err != nil || !removed {
		return now.Exists, err
	}
	_, err = u.systemctl(ctx, false, "daemon-reload")
	return true, err
}

func (u systemd) Status(ctx context.Context, name string) (UnitStatus, error) {
	if st, err := u.bus.status(ctx, name); err == nil || ctx.Err() != nil {
		return st, err
	}
	out, err := u.systemctl(ctx, true, "show", "--timestamp=unix",
		"--property=LoadState,ActiveState,UnitFileState,MainPID,ActiveEnterTimestamp,NeedDaemonReload", name)
	if err != nil {
		return UnitStatus{}, err
	}
	return parseShow(string(out.Stdout))
}

// parseShow reads what "systemctl show" prints of one unit.
func parseShow(text string) (UnitStatus, error) {
	var st UnitStatus
	for line := range strings.Lines(text) {
		key, value, ok := strings.Cut(strings.TrimSpace(line), "=")
		if !ok {
			continue
		}
		switch key {
		case "LoadState":
			st.Exists = value != "not-found"
		case "ActiveState":
			st.State = value
			st.Active = value == "active" || value == "reloading"
		case "UnitFileState":
			st.Enabled = value == "enabled"
		case "NeedDaemonReload":
			st.Stale = value == "yes"
		case "MainPID":
			pid, err := strconv.Atoi(value)
			if err != nil {
				return UnitStatus{}, fmt.Errorf("read the main process of a unit: %w", err)
			}
			st.MainPID = pid
		case "ActiveEnterTimestamp":
			if seconds, err := strconv.ParseInt(strings.TrimPrefix(value, "@"), 10, 64); err == nil && seconds > 0 {
				st.Since = time.Unix(seconds, 0)
			}
		}
	}
	if !st.Active {
		st.Since = time.Time{}
	}
	return st, nil
}
