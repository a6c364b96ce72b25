package firewall

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"path"
	"reflect"
	"time"

	"github.com/atollhq/terraform-provider-atoll/internal/topology"
)

// Names in the agent's directory: what is known of the filter, and what is loaded at boot.
const (
	recordName = "firewall.json"
	scriptName = "firewall.nft"
)

// record is what has to survive a restart of the agent.
type record struct {
	// Confirmed is the filter that holds unless another one is on trial; nil for none.
	Confirmed *topology.HostFirewall `json:"confirmed,omitempty"`
	Trial     *trial                 `json:"trial,omitempty"`
	Rejected  *rejected              `json:"rejected,omitempty"`
}

// trial is a filter that nobody has come through yet.
type trial struct {
	Filter *topology.HostFirewall `json:"filter"`
	Began  time.Time              `json:"began"`
	// Within is how long it lasts since it was loaded.
	Within time.Duration `json:"within"`
	// Attempts is how often it was put on trial; a reboot ends one without saying anything of the filter.
	Attempts int `json:"attempts"`
	// Operator tells that it is the operator who has to come through, since it is the operator whom the change may lock out.
	Operator bool `json:"operator,omitempty"`
}

// rejected is a filter that was taken back.
type rejected struct {
	Filter   *topology.HostFirewall `json:"filter"`
	At       time.Time              `json:"at"`
	Operator bool                   `json:"operator,omitempty"`
	// Interrupted tells that no trial of it came to its end.
	Interrupted bool `json:"interrupted,omitempty"`
}

func (r record) empty() bool { return r.Confirmed == nil && r.Trial == nil && r.Rejected == nil }

// load returns the record. A damaged one counts as none: the filter is tried again.
func (f *Firewall) load() (record, error) {
	var r record
	data, err := f.sys.ReadFile(path.Join(f.dir, recordName))
	switch {
	case errors.Is(err, fs.ErrNotExist):
		return r, nil
	case err != nil:
		return r, fmt.Errorf("read what is known of the firewall: %w", err)
	}
	if damaged := json.Unmarshal(data, &r); damaged != nil || r.Trial != nil && r.Trial.Filter == nil || r.Rejected != nil && r.Rejected.Filter == nil {
		return record{}, nil //nolint:nilerr // see above
	}
	return r, nil
}

// save puts the record onto the disk.
func (f *Firewall) save(r record) error {
	data, err := json.MarshalIndent(r, "", "  ")
	if err != nil {
		return fmt.Errorf("encode what is known of the firewall: %w", err)
	}
	if _, err := f.sys.WriteFile(path.Join(f.dir, recordName), append(data, '\n'), 0o600); err != nil {
		return fmt.Errorf("keep what is known of the firewall: %w", err)
	}
	return nil
}

// same tells whether two filters let in the same.
func same(a, b *topology.HostFirewall) bool {
	if a == nil || b == nil {
		return a == b
	}
	// In the form in which they are kept: an empty list and none are alike there.
	one, err := json.Marshal(a.Openings)
	other, err2 := json.Marshal(b.Openings)
	return err == nil && err2 == nil && bytes.Equal(one, other)
}

// alike tells whether two filters let in the same and are tried in the same way.
func alike(a, b *topology.HostFirewall) bool {
	return same(a, b) && (a == nil || a.ConfirmWithin == b.ConfirmWithin && a.Hidden == b.Hidden)
}

// risky tells whether a change of the filter could lock somebody out who could say so.
func risky(from, to *topology.HostFirewall) bool {
	return from.Narrower(to) && (moved(from, to) || !to.Alone)
}

// moved tells whether a change of the filter could lock the operator out.
func moved(from, to *topology.HostFirewall) bool {
	if to.Hidden {
		return false
	}
	if from == nil {
		return to.Operators != nil
	}
	return !reflect.DeepEqual(from.Operators, to.Operators) && to.Operators != nil
}
