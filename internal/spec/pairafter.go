package spec

import (
	"path"
	"strings"
	"time"
)

// Bounds and default of how long the command after changes may take, in seconds, and of its length.
const (
	DefaultAfterTimeout = 300
	MaxAfterTimeout     = 24 * 3600
	// MaxAfterArguments is how many words the command can have, maxAfterBytes how many bytes all of them.
	MaxAfterArguments = 100
	maxAfterBytes     = 16 << 10
)

// PairAfter is what each node of a pair runs after changes of the other one have arrived in its tree: as the account that the tree belongs to, at least
// once, one at a time.
type PairAfter struct {
	// Command is the program, by its absolute path, and its arguments. No shell reads it.
	Command []string `json:"command"`
	// Timeout is how long it may take until it is killed, in seconds.
	Timeout int `json:"timeout_seconds"`
}

// ValidateAfterCommand reports what keeps words from being a command that nodes run.
func ValidateAfterCommand(field string, command []string) Problems {
	var ps Problems
	if len(command) == 0 || command[0] == "" {
		ps.add(field, "name a program by its absolute path, and its arguments", "is empty")
		return ps
	}
	size := 0
	for _, word := range command {
		size += len(word)
		if strings.ContainsRune(word, 0) {
			ps.add(field, "leave it out", "%q has a byte of zero, which no argument can have", word)
		}
	}
	switch program := command[0]; {
	case !strings.HasPrefix(program, "/"):
		ps.add(field, "write where the program is on the nodes, such as /usr/bin/php", "%q is not absolute, and no shell looks for it", program)
	case path.Clean(program) != program:
		ps.add(field, "write "+path.Clean(program), "%q is not the shortest form", program)
	}
	if len(command) > MaxAfterArguments || size > maxAfterBytes {
		ps.add(field, "put it into a script on the nodes, and name that", "has %d words of %d bytes, more than %d of %d", len(command), size, MaxAfterArguments, maxAfterBytes)
	}
	return ps
}

func (a *PairAfter) validate() Problems {
	if a == nil {
		return nil
	}
	ps := ValidateAfterCommand("command", a.Command)
	if a.Timeout < 1 || a.Timeout > MaxAfterTimeout {
		ps.add("timeout_seconds", "choose one from 1 to 86400 seconds", "is %d", a.Timeout)
	}
	return ps
}

// AfterState is how far a node is with the command after changes.
type AfterState string

// The states of the command.
const (
	// AfterDone is when it has succeeded after everything that has arrived, or nothing has.
	AfterDone AfterState = "done"
	// AfterDue is when something has arrived after which it has not run.
	AfterDue AfterState = "due"
	// AfterRunning is while it runs.
	AfterRunning AfterState = "running"
	// AfterFailed is when it did not succeed the last time. It is tried again.
	AfterFailed AfterState = "failed"
)

// AfterStates lists every state.
func AfterStates() []AfterState {
	return []AfterState{AfterDone, AfterDue, AfterRunning, AfterFailed}
}

// AfterStatus is a node's side of the command after changes.
type AfterStatus struct {
	State AfterState `json:"state"`
	// Last is when it ended last, by the clock of the node that reports it, zero for never since the pair's programs started, and Took how long that
	// took, in seconds.
	Last time.Time `json:"last,omitzero"`
	Took float64   `json:"took_s,omitempty"`
	// Problem is why it has failed, with the end of what it has said; "" for nothing.
	Problem string `json:"problem,omitempty"`
}

// Rests tells that nothing is left to run. So it is on a node that has nothing to run.
func (s *AfterStatus) Rests() bool { return s == nil || s.State == AfterDone }

// Equal tells whether two statuses say the same.
func (s *AfterStatus) Equal(o *AfterStatus) bool {
	if s == nil || o == nil {
		return s == o
	}
	return s.State == o.State && s.Last.Equal(o.Last) && s.Took == o.Took && s.Problem == o.Problem
}
