//go:build linux

package databasetest

import (
	"context"
	"database/sql"
	"log/slog"
	"net"

	"github.com/atollhq/terraform-provider-atoll/internal/database"
	"github.com/atollhq/terraform-provider-atoll/internal/host"
)

// Dial connects from a machine, to an address or to one of the machine's own Unix sockets.
type Dial func(ctx context.Context, network, address string) (net.Conn, error)

// Engine is what the tests have to know of a driver and its server.
type Engine struct {
	// New makes a driver for a machine. It does nothing to the machine yet.
	New func(sys host.System, log *slog.Logger, dial Dial) database.Driver
	// Unit is the server's service, Data the folder with its data, and State the folder above that, where data is kept aside.
	Unit, Data, State string
	// Port is where the server listens.
	Port uint16
	// Open returns an application's connections to the server at an address, over connections that dial makes. It does not
	// connect yet.
	Open func(dial Dial, address, user, password, schema string) (*sql.DB, error)
	// Diverge makes a server that is in no group execute something of its own.
	Diverge func(ctx context.Context, dial Dial) error
	// Show makes a server write all that it is told to a log of its own.
	Show func(ctx context.Context, dial Dial) error
	// Live is a setting that a running server takes, Restart one that takes a restart. Each is a name with a value.
	Live, Restart [2]string
	// Crowd is more connections than a server takes that has the setting Live.
	Crowd int
	// Bad are settings that are refused, by name.
	Bad map[string]string
	// Unfit are what keeps a member from joining that is made at a server in no group, without leaving a trace in what it has executed.
	Unfit []Unfit
	// ReadSetting asks a running server for a setting.
	ReadSetting func(ctx context.Context, dial Dial, name string) (string, error)
}

// Unfit is something that keeps a member from joining.
type Unfit struct {
	// Check is what the finding is called.
	Check string
	// Make makes it so, Undo undoes that.
	Make, Undo func(ctx context.Context, dial Dial) error
}
