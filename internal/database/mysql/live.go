package mysql

import (
	"context"
	"database/sql"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"maps"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/atollhq/terraform-provider-atoll/internal/database"
)

// liveSettings are what a running server has been told since its start.
type liveSettings struct {
	// PID and Since identify the start.
	PID   int       `json:"pid"`
	Since time.Time `json:"since"`
	// Settings are all that it runs with.
	Settings map[string]string `json:"settings"`
}

// running returns the settings that the server runs with, none when it does not run.
func (d *Driver) running(ctx context.Context) (liveSettings, error) {
	unit, err := d.sys.Units().Status(ctx, unitName)
	if err != nil || !unit.Active {
		return liveSettings{}, err
	}
	text, err := d.sys.ReadFile(livePath)
	if err == nil {
		var live liveSettings
		if json.Unmarshal(text, &live) == nil && live.PID == unit.MainPID && live.Since.Equal(unit.Since) {
			return live, nil
		}
	}
	text, err = d.sys.ReadFile(startedPath)
	if errors.Is(err, fs.ErrNotExist) {
		return liveSettings{}, nil
	}
	if err != nil {
		return liveSettings{}, err
	}
	return liveSettings{unit.MainPID, unit.Since, parse(string(text))}, nil
}

// live tells a running server the settings that have changed and that it can take at once. A value that it refuses is an error,
// and then nothing has changed. What takes a restart is left for that.
func (d *Driver) live(ctx context.Context, want map[string]string) error {
	now, err := d.running(ctx)
	if err != nil || len(now.Settings) == 0 {
		return err
	}
	names := changed(now.Settings, want)
	if len(names) == 0 {
		return nil
	}
	if err := d.local.PingContext(ctx); err != nil {
		// A server that does not answer learns it from its configuration.
		return nil //nolint:nilerr // see above
	}
	var undo []func() error
	next := maps.Clone(now.Settings)
	for _, name := range names {
		value, there := want[name]
		taken, back, err := d.tell(ctx, strings.TrimPrefix(name, "loose_"), value, there)
		if err != nil {
			for _, back := range undo {
				err = errors.Join(err, back())
			}
			return err
		}
		if !taken {
			continue
		}
		undo = append(undo, back)
		if delete(next, name); there {
			next[name] = value
		}
	}
	if len(undo) == 0 {
		return nil
	}
	now.Settings = next
	text, err := json.Marshal(now)
	if err != nil {
		return err
	}
	_, err = d.sys.WriteFile(livePath, text, 0o600)
	return err
}

// tell sets one variable of the running server, to its default when no value is given. It reports whether the server took it,
// and how to undo that.
func (d *Driver) tell(ctx context.Context, name, value string, given bool) (taken bool, undo func() error, err error) {
	var old string
	err = d.local.QueryRowContext(ctx, "SELECT variable_value FROM performance_schema.global_variables WHERE variable_name = ?", name).Scan(&old)
	if errors.Is(err, sql.ErrNoRows) {
		if !given {
			return false, nil, nil
		}
		if startOnly(name) {
			return false, nil, nil
		}
		return false, nil, &database.SettingsError{Message: fmt.Sprintf("there is no variable %s", name)}
	}
	if err != nil {
		return false, nil, fmt.Errorf("ask the server for %s: %w", name, err)
	}
	if onceOnly(name) && given && !strings.EqualFold(old, value) {
		return false, nil, &database.SettingsError{Message: name + " is for all times what it was when the data was made: " + old}
	}
	if given {
		if err := d.inBounds(ctx, name, value); err != nil {
			return false, nil, err
		}
	}
	literal := "DEFAULT"
	if given {
		literal = literalOf(value)
	}
	if atStart(name) {
		return false, nil, nil
	}
	_, err = d.local.ExecContext(ctx, "SET GLOBAL "+name+" = "+literal)
	switch number(err) {
	case 0:
		if err != nil {
			return false, nil, fmt.Errorf("set %s: %w", name, err)
		}
		return true, func() error {
			_, err := d.local.ExecContext(context.WithoutCancel(ctx), "SET GLOBAL "+name+" = "+literalOf(old))
			return err
		}, nil
	case errWrongValue, errWrongType, errUnknownVariable, errUnknownSetting:
		return false, nil, &database.SettingsError{Message: fmt.Sprintf("%s = %q: %v", name, value, err)}
	default:
		// It can only be read now, or not be changed in a group.
		d.log.Debug("a setting waits for a restart", "setting", name, "reason", err)
		return false, nil, nil
	}
}

// checkSettings fails with *database.SettingsError when the server runs with a setting of the operator's that it could not take:
// one that has just been started for the first time only warns of that, and takes another value.
func (d *Driver) checkSettings(ctx context.Context, m *database.Member) error {
	text, err := d.sys.ReadFile(configPath)
	if err != nil {
		return err
	}
	configured := parse(string(text))
	for _, name := range slices.Sorted(maps.Keys(m.Settings)) {
		value, there := configured[loose(name)]
		if !there || value != m.Settings[name] {
			continue // it was refused before
		}
		var now string
		err := d.local.QueryRowContext(ctx, "SELECT variable_value FROM performance_schema.global_variables WHERE variable_name = ?", name).Scan(&now)
		if errors.Is(err, sql.ErrNoRows) {
			return &database.SettingsError{Message: fmt.Sprintf("there is no variable %s, the server runs without it", name)}
		}
		if err != nil {
			return fmt.Errorf("ask the server for %s: %w", name, err)
		}
		if err := d.inBounds(ctx, name, value); err != nil {
			return err
		}
	}
	return nil
}

// startOnly tells options of the program that are no variables.
func startOnly(name string) bool {
	return name == "user" || name == "plugin_load_add" || name == "pid_file"
}

// atStart tells what a running server would take but must not be told: it begins read-only, not while it is the primary.
func atStart(name string) bool { return name == "super_read_only" }

// onceOnly tells what can only be chosen when data is made.
func onceOnly(name string) bool {
	return name == "lower_case_table_names" || name == "innodb_page_size"
}

// inBounds fails when a value that has to be a number is none or out of its bounds: the server itself would only warn, and take
// another one.
func (d *Driver) inBounds(ctx context.Context, name, value string) error {
	var low, high string
	err := d.local.QueryRowContext(ctx, "SELECT min_value, max_value FROM performance_schema.variables_info WHERE variable_name = ?", name).Scan(&low, &high)
	if errors.Is(err, sql.ErrNoRows) {
		return nil
	}
	if err != nil {
		return fmt.Errorf("ask the server for the bounds of %s: %w", name, err)
	}
	least, lowOK := amount(low)
	most, highOK := amount(high)
	isNumeric := lowOK && highOK && most > least
	if n, ok := amount(value); isNumeric && (!ok || n < least || n > most) {
		return &database.SettingsError{Message: fmt.Sprintf("%s = %s is no number from %s to %s", name, value, low, high)}
	}
	return nil
}

var amountPattern = regexp.MustCompile(`^(-?[0-9]+(?:\.[0-9]+)?)([KMGTPEkmgtpe]?)$`)

// amount returns the number that a value is, with the suffixes of option files.
func amount(value string) (float64, bool) {
	m := amountPattern.FindStringSubmatch(value)
	if m == nil {
		return 0, false
	}
	n, err := strconv.ParseFloat(m[1], 64)
	if err != nil {
		return 0, false
	}
	if m[2] != "" {
		for range strings.Index("KMGTPE", strings.ToUpper(m[2])) + 1 {
			n *= 1024
		}
	}
	return n, true
}

// literalOf returns a value of an option file as SQL has it.
func literalOf(value string) string {
	if m := amountPattern.FindStringSubmatch(value); m != nil {
		n, err := strconv.ParseInt(m[1], 10, 64)
		switch {
		case m[2] == "":
			return m[1]
		case err == nil:
			return strconv.FormatInt(n<<(10*(strings.Index("KMGTPE", strings.ToUpper(m[2]))+1)), 10)
		}
	}
	return quote(value)
}
