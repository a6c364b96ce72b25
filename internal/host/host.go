// Package host is the machine as the agent changes it: commands, files, systemd units and packages.
//
// Everything the agent and its drivers do to a node goes through System, so that a plan can record it instead (Plan), and a
// test can compare the state of a host as text (package hosttest).
package host

import (
	"context"
	"fmt"
	"io/fs"
	"strings"
	"time"
)

// System is one machine. Its methods are safe for concurrent use; two writers of one path must agree between themselves.
type System interface {
	// Run runs a command to its end. It fails with *CommandError when the command exits with another status than 0; the
	// output is returned then as well.
	Run(ctx context.Context, c Command) (Output, error)
	// ReadFile returns a file's content, or an error that is fs.ErrNotExist.
	ReadFile(path string) ([]byte, error)
	// WriteFile makes path a regular file of exactly this content and mode, and says whether that was a change. Missing
	// parent directories are made with mode 0755. The new content appears at once or not at all, and is on the disk
	// before WriteFile returns.
	WriteFile(path string, data []byte, mode fs.FileMode) (changed bool, err error)
	// Remove removes path and everything below it, and says whether there was anything.
	Remove(path string) (changed bool, err error)
	// ReadDir returns the sorted names in a directory, or an error that is fs.ErrNotExist.
	ReadDir(path string) ([]string, error)
	// Units returns the machine's services.
	Units() Units
}

// Command is a program to run. Secrets go into Stdin, never into Args or Env, which every user of the machine can read.
type Command struct {
	Name  string
	Args  []string
	Stdin []byte
	// Env holds further variables ("NAME=value") beside the agent's own and LC_ALL=C.
	Env []string
	// ReadOnly says that the command changes nothing, so that a plan may run it.
	ReadOnly bool
}

// String returns the command line.
func (c Command) String() string { return strings.Join(append([]string{c.Name}, c.Args...), " ") }

// Output is what a command wrote.
type Output struct {
	Stdout []byte
	Stderr []byte
}

// CommandError says that a command ran and failed, or could not be started.
type CommandError struct {
	Command string
	// ExitCode is the command's exit status, -1 when it was killed or did not start.
	ExitCode int
	// Output is the end of what the command wrote, for people.
	Output string
	Err    error
}

// Error returns the command, how it ended and the end of its output.
func (e *CommandError) Error() string {
	text := fmt.Sprintf("run %q: %v", e.Command, e.Err)
	if e.Output != "" {
		text += ": " + e.Output
	}
	return text
}

// Unwrap returns the reason of the failure.
func (e *CommandError) Unwrap() error { return e.Err }

// Unit is a service as it should be.
type Unit struct {
	// Name is the unit's full name, such as "atoll-tinc.service".
	Name string
	// Content is the unit file.
	Content []byte
	// Enabled starts the unit at boot; Running wants it to run now.
	Enabled bool
	Running bool
}

// UnitStatus is a service as it is.
type UnitStatus struct {
	// Exists tells whether there is such a unit.
	Exists  bool
	Enabled bool
	// Stale tells whether the unit's file has changed since the service manager read it.
	Stale bool
	// Active tells whether the service runs; State is systemd's word for it ("active", "failed", …).
	Active bool
	State  string
	// MainPID is the process id of the service's main process, 0 when it does not run.
	MainPID int
	// Since is when the service became active; zero when it is not or when that is unknown.
	Since time.Time
}

// Units are the services of a machine.
type Units interface {
	// Ensure makes the unit as described and says whether anything had to change. A running service whose unit file
	// changes is restarted.
	Ensure(ctx context.Context, u Unit) (changed bool, err error)
	// Reload makes a running service read its configuration again.
	Reload(ctx context.Context, name string) error
	// Restart starts the service again, or for the first time.
	Restart(ctx context.Context, name string) error
	// Stop ends the service and returns when its processes are gone. It is no error when the service does not run.
	Stop(ctx context.Context, name string) error
	// Signal sends a signal ("USR2") to the main process of a running service.
	Signal(ctx context.Context, name, signal string) error
	// Remove stops and disables the unit, deletes its file, and says whether there was one.
	Remove(ctx context.Context, name string) (changed bool, err error)
	// Status returns the service as it is. A unit that does not exist is no error.
	Status(ctx context.Context, name string) (UnitStatus, error)
}

// Package is a piece of software from the distribution.
type Package struct {
	// Name is the package's name, Binary the program that shows that it is installed.
	Name   string
	Binary string
	// Service is the unit that the package starts by itself and that nobody wants; empty for none.
	Service string
}

// Packager is implemented by drivers that need software from the distribution.
type Packager interface {
	// Packages returns what has to be installed before the driver's first call.
	Packages() []Package
}

// Packages installs software from the distribution.
type Packages interface {
	// Ensure installs those packages whose program is missing, and says whether any was.
	Ensure(ctx context.Context, packages ...Package) (changed bool, err error)
}
