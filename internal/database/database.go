// Package database is the contract between the agent and the engines of replicated databases, as one node runs them. What
// all engines have in common (when a group may begin, who restarts next, what ends an outage) is decided above the contract;
// an engine does what it is told to its own server, and says how that is. Package databasetest holds the tests that every
// driver passes.
package database

import (
	"context"
	"fmt"
	"log/slog"
	"net/netip"
	"time"

	"github.com/atollhq/terraform-provider-atoll/internal/host"
	"github.com/atollhq/terraform-provider-atoll/internal/spec"
)

// Driver keeps one node's member of a database. Its methods may be called from several goroutines; those that change
// anything run one at a time.
type Driver interface {
	// Apply makes the server as m describes it and starts it: software, configuration, accounts that only this node has. It
	// begins and joins no group, and never touches data that it did not make: what it finds in the way is an error. It may be
	// called many times with the same member, and then changes nothing and interrupts nothing; what was broken meanwhile is
	// repaired. It never restarts a server that is in a group: a setting that needs a restart is reported in
	// Status.RestartNeeded and waits for Restart. Settings that the server refuses change nothing, with a *SettingsError. A nil
	// member stops the server and removes everything that the driver made but the data, which is kept aside.
	Apply(ctx context.Context, m *Member) error
	// Status returns the member as it is now, within a second also when the server hangs, and within 2.5 s where looks have lately taken
	// long. A server that is not there or does not answer is no error.
	Status(ctx context.Context) (Status, error)
	// Preflight returns what keeps the member from joining, or speaks against it, as far as that can be known beforehand.
	Preflight(ctx context.Context) ([]Finding, error)
	// Bootstrap begins a group with the data that the member has. Whoever calls it has made sure that there is no other.
	Bootstrap(ctx context.Context) error
	// Join joins the group, which must be there, and takes over what the member has missed; a copy of everything where that is
	// needed, but never over data that the group does not have. It returns when the member is let in or not; Status says how
	// far it has come since. It fails with *DivergedError when the member has data that the group does not. A member may be let
	// in after ctx has ended; while that is so it is not MemberStranded.
	Join(ctx context.Context) error
	// Leave takes the member out of the group in an orderly way, and leaves its server running. The primary hands over first.
	Leave(ctx context.Context) error
	// Restart starts the server again, so that settings take effect. The member is in no group afterwards, until it joins.
	Restart(ctx context.Context) error
	// Position returns the data that the member has, all that it has received included. It only stands still while the member
	// is in no group.
	Position(ctx context.Context) (string, error)
	// Compare returns how two positions relate, by asking the local server.
	Compare(ctx context.Context, a, b string) (Order, error)
	// SwitchOver makes member to, by its node's name, the primary. It is called at any member that is online. It fails with
	// *SwitchoverError, and then the old primary goes on, when that is not done within patience.
	SwitchOver(ctx context.Context, to string, patience time.Duration) error
	// CheckSwitchover returns what would be in the way of SwitchOver to that member now, and changes nothing. It is called at any
	// member, and fails when that cannot tell.
	CheckSwitchover(ctx context.Context, to string) (SwitchoverCheck, error)
	// Maintain keeps, at the primary, what replicates with the data: schemas, users, the accounts between members, what the
	// router reads. It may be called at any member and does nothing at others.
	Maintain(ctx context.Context, m *Member) error
}

// New makes a driver that works on a host. It does nothing to the host yet.
type New func(host.System, *slog.Logger) Driver

// Member is one node's member as it should be, and what it has to know of the others.
type Member struct {
	// Database is the database's name, Group the engine's name of the group.
	Database string
	Group    string
	// Version is the release series that the server must be of, "" for any.
	Version string
	// Node is the member's name, Address where its server listens beside loopback.
	Node    string
	Address netip.AddrPort
	// ID is a number that no other member has.
	ID uint32
	// Weight is how much the member is preferred as the next primary, 0 to 100.
	Weight int
	// Settings are the engine's own.
	Settings map[string]string
	// Peers are the other voting members, sorted by name.
	Peers []Peer
	// Schemas and Users are those of applications. A user without schemas may use all of Schemas.
	Schemas []string
	Users   map[string]User
	// Secrets are the passwords of the accounts between the members.
	Secrets Secrets
}

// Peer is another voting member.
type Peer struct {
	Node    string
	Address netip.AddrPort
}

// User is an application's account.
type User struct {
	// Password is in the clear: it must not be logged or put into arguments.
	Password string
	// Version changes when the password does.
	Version int64
	Schemas []string
}

// Secrets are the passwords of the accounts that a database itself needs, the same at every member.
type Secrets struct {
	// Replication is for members among each other, Router for routers.
	Replication, Router string
}

// Status is a member as it is.
type Status struct {
	// State is never MemberBlocked, MemberStranded or MemberOnline by mistake: those are what the server itself says. A member
	// whose server runs outside of any group is MemberStranded, whatever the reason.
	State spec.MemberState
	// Version is the server's, "" while it does not answer.
	Version string
	// Fresh tells that the member has no data of its own: it was never in a group. Never true when that is unknown.
	Fresh bool
	// Primary is the node that takes writes, as the local server sees it, "" for none. Writable tells that this one does, which
	// the group has confirmed within the last seconds: a server that stood still or is cut off does not know yet that it is not
	// the primary any more.
	Primary  string
	Writable bool
	// View is how the local server sees each member of the group, by node; a member that it does not know by a node's name is
	// there by its address.
	View map[string]spec.MemberState
	// Lag is how far the member is behind, Queue how many transactions wait.
	Lag   time.Duration
	Queue int
	// Progress tells how far long work is, for people.
	Progress string
	// Problem is what the server says is wrong, "" for nothing.
	Problem string
	// Unfit is why the member should not be the primary although its server goes on, "" for nothing: a disk that is nearly full,
	// say, on which all writes would wait for room while the group notices nothing.
	Unfit string
	// Running is the digest of the settings that the server runs with, Wanted of those that it was told last.
	Running, Wanted string
	// RestartNeeded tells that the wanted settings take a restart.
	RestartNeeded bool
}

// Severity is how much a finding matters.
type Severity string

// The severities.
const (
	// Blocks keeps the member from joining.
	Blocks Severity = "blocks"
	// Warns does not.
	Warns Severity = "warns"
)

// Finding is one thing that a pre-flight check has found.
type Finding struct {
	// Check is one word, such as "disk" or "primary-keys".
	Check    string
	Severity Severity
	// Message says what is wrong, where, and what to do.
	Message string
}

// Order is how two positions relate.
type Order int

// The orders.
const (
	// Equal has the same data, Less misses some of the other's, Greater has all of the other's and more.
	Equal Order = iota
	Less
	Greater
	// Diverged tells that each has data that the other does not have.
	Diverged
)

// String returns the order in words.
func (o Order) String() string {
	switch o {
	case Equal:
		return "equal"
	case Less:
		return "less"
	case Greater:
		return "greater"
	case Diverged:
		return "diverged"
	}
	return fmt.Sprintf("order %d", int(o))
}

// DivergedError says that a member has data that the group does not have, so that it cannot join without losing it.
type DivergedError struct {
	Node string
	// Own is what only this member has, in the engine's form.
	Own string
}

// Error says what only the member has and what to do.
func (e *DivergedError) Error() string {
	return fmt.Sprintf("%s has transactions that the group does not have (%s); nothing of it is thrown away by itself: save what is needed of them, "+
		"then remove the member, move its data aside and add it again", e.Node, e.Own)
}

// SettingsError says that the server does not take a setting. Nothing has changed.
type SettingsError struct {
	// Message is what is wrong with which setting.
	Message string
}

// Error says what is wrong.
func (e *SettingsError) Error() string {
	return "the server refuses the new settings, the old ones stay: " + e.Message
}

// SwitchoverError says why the primary did not change.
type SwitchoverError struct {
	To string
	// Reason is one word for programs: "unknown-member", "not-online", "lag", "long-transactions", "timeout", "refused".
	Reason  string
	Message string
}

// Error returns the message.
func (e *SwitchoverError) Error() string {
	return fmt.Sprintf("the primary does not move to %s: %s", e.To, e.Message)
}

// SwitchoverCheck is what a look before a switchover has found.
type SwitchoverCheck struct {
	// From is the primary as it is, "" when there is none.
	From string
	// Queue is how many transactions the member has to apply first, MostQueue how many it may have.
	Queue, MostQueue int
	// Long describes, for people, the transactions that are under way at the primary and are not expected to end by themselves soon.
	Long []string
	// Reason and Message are those of the *SwitchoverError that SwitchOver would begin with, "" when nothing is in the way.
	Reason, Message string
}
