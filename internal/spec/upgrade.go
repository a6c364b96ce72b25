package spec

import (
	"slices"
	"time"
)

// Upgrade is a change of what nodes share that is under way while all of them are in maintenance, as `atoll upgrade` has brought it: on the nodes, so
// that another machine than the one where it was begun can go on with it or take it back. Agents do nothing about it.
type Upgrade struct {
	// ID names it, and the snapshots that were taken for it.
	ID string `json:"id"`
	// Node is where the change is made, Pairs are those whose trees have to be equal before and after.
	Node  string   `json:"node"`
	Pairs []string `json:"pairs,omitempty"`
	// Step is how far it is, At since when.
	Step UpgradeStep `json:"step"`
	At   time.Time   `json:"at"`
	// Backup and Verify tell that there are a command which has made a backup of something else, and one that says whether all is well.
	Backup bool `json:"backup,omitempty"`
	Verify bool `json:"verify,omitempty"`
	// Stays tells of this node that it was in maintenance before, and stays so.
	Stays bool `json:"stays,omitempty"`
}

// UpgradeStep is how far an upgrade is.
type UpgradeStep string

// The steps of an upgrade, in order. Each is recorded before it is begun.
const (
	// UpgradeSnapshot waits until all is equal and takes snapshots: nothing has changed yet.
	UpgradeSnapshot UpgradeStep = "snapshot"
	// UpgradeChange makes the change.
	UpgradeChange UpgradeStep = "change"
	// UpgradeVerify waits until all is equal and looks whether it is well: the change is made.
	UpgradeVerify UpgradeStep = "verify"
	// UpgradeRestore puts everything back to what it was.
	UpgradeRestore UpgradeStep = "restore"
)

// UpgradeSteps returns all steps in order.
func UpgradeSteps() []UpgradeStep {
	return []UpgradeStep{UpgradeSnapshot, UpgradeChange, UpgradeVerify, UpgradeRestore}
}

// validate returns everything that is wrong with it.
func (u *Upgrade) validate() Problems {
	var ps Problems
	if u == nil {
		return ps
	}
	ps = append(ps, ValidateName("upgrade.id", u.ID)...)
	ps = append(ps, ValidateName("upgrade.node", u.Node)...)
	for _, pair := range u.Pairs {
		ps = append(ps, ValidateName("upgrade.pairs", pair)...)
	}
	if !slices.Contains(UpgradeSteps(), u.Step) {
		ps.add("upgrade.step", "update the agent", "%q is no step", u.Step)
	}
	if u.At.IsZero() {
		ps.add("upgrade.at", "", "is missing")
	}
	return ps
}
