// Package router is the contract between the agent and the programs by which applications on a node reach a replicated
// database: one local port that leads to the member that takes writes, one that leads to any that is up to date. Package
// routertest holds the tests that every driver passes.
package router

import (
	"context"
	"log/slog"
	"net/netip"

	"github.com/atollhq/terraform-provider-atoll/internal/host"
)

// Driver keeps one node's router. Its methods may be called from several goroutines.
type Driver interface {
	// Apply makes the router as c describes it. It may be called many times with the same configuration, and then changes
	// nothing and interrupts nothing; what was broken meanwhile is repaired. A configuration that the program refuses changes
	// nothing, and the error says why. After a failover, connections for writes to the old primary are cut and new ones reach
	// the new one, without another call. A nil configuration removes everything that the driver made.
	Apply(ctx context.Context, c *Config) error
	// Status returns the router as it is now, within a second. A router that is not there or not running is no error.
	Status(ctx context.Context) (Status, error)
}

// Restarter is a driver whose program may get stuck.
type Restarter interface {
	// Restart starts the router of a database again, which cuts all connections through it. One that is not there is no error.
	Restart(ctx context.Context, database string) error
}

// New makes a driver that works on a host. It does nothing to the host yet.
type New func(host.System, *slog.Logger) Driver

// Config is the databases that a node's applications reach, sorted by name.
type Config struct {
	Databases []Database
}

// Database is one of them.
type Database struct {
	Name string
	// Group is the engine's name of the group.
	Group string
	// WritePort and ReadPort listen at loopback addresses only.
	WritePort, ReadPort int
	// Node is the node that the router runs on.
	Node string
	// Members are the voting members, sorted by node.
	Members []Member
	// User and Password are the account by which the router asks members for their roles. The password must not be logged or
	// put into arguments.
	User, Password string
}

// Member is a server to lead connections to.
type Member struct {
	Node    string
	Address netip.AddrPort
	// Check is where the member's agent says which role it has, for drivers that do not ask the server itself.
	Check netip.AddrPort
}

// Status is a node's router as it is.
type Status struct {
	// Running tells whether all routers run that could be made of what was applied last. One whose new configuration was refused
	// goes on as it was.
	Running bool
	// Writers holds, by database, the node that connections for writes are led to, "" for none or unknown.
	Writers map[string]string
	// Problem is what is wrong, "" for nothing.
	Problem string
}
