package adoption

import (
	"fmt"
	"strings"
)

// UnknownHostKeyError is returned when nothing says which host key the machine should have.
type UnknownHostKeyError struct {
	Address string
	// Offered is what the machine showed, as a line for host_key, with its fingerprint.
	Offered, Fingerprint string
}

// Error names the machine and the key that it shows.
func (e *UnknownHostKeyError) Error() string {
	return fmt.Sprintf("the SSH host key of %s is not known; it shows %s (%s)", e.Address, e.Offered, e.Fingerprint)
}

// HostKeyChangedError is returned when the machine shows another host key than the expected one.
type HostKeyChangedError struct {
	Address string
	// Expected are the fingerprints of the keys that would be right, Where is what says so.
	Expected    []string
	Where       string
	Fingerprint string
}

// Error names both fingerprints.
func (e *HostKeyChangedError) Error() string {
	return fmt.Sprintf("the SSH host key of %s has changed: %s expects %s, it shows %s",
		e.Address, e.Where, strings.Join(e.Expected, " or "), e.Fingerprint)
}

// LoginError is returned when the machine is the right one but does not let the user in.
type LoginError struct {
	Address, User string
	Err           error
}

// Error names machine and user.
func (e *LoginError) Error() string {
	return fmt.Sprintf("%s does not let %s in: %v", e.Address, e.User, e.Err)
}

// Unwrap returns SSH's error.
func (e *LoginError) Unwrap() error { return e.Err }

// UnreachableError is returned when nothing answers as an SSH server.
type UnreachableError struct {
	Address string
	Err     error
}

// Error names the machine.
func (e *UnreachableError) Error() string {
	return fmt.Sprintf("reach %s over SSH: %v", e.Address, e.Err)
}

// Unwrap returns the network's error.
func (e *UnreachableError) Unwrap() error { return e.Err }

// CommandError is returned when a command on the machine fails.
type CommandError struct {
	// What says what the command was to achieve.
	What   string
	Stderr string
	Err    error
}

// Error says what failed, with what the command printed.
func (e *CommandError) Error() string {
	text := fmt.Sprintf("%s: %v", e.What, e.Err)
	if e.Stderr != "" {
		text += ": " + e.Stderr
	}
	return text
}

// Unwrap returns SSH's error.
func (e *CommandError) Unwrap() error { return e.Err }

// UnsuitableError is returned for a machine that cannot be a node. Nothing has been changed on it.
type UnsuitableError struct {
	Address string
	Reason  string
	Remedy  string
}

// Error names the machine, the reason and the remedy.
func (e *UnsuitableError) Error() string {
	return fmt.Sprintf("%s %s; %s", e.Address, e.Reason, e.Remedy)
}

// BinaryError is returned when there is no program to install.
type BinaryError struct {
	// Path is where it was looked for, empty when the provider names none.
	Path string
	Arch string
	Err  error
}

// Error says which program is missing and how to name it.
func (e *BinaryError) Error() string {
	if e.Path == "" {
		return "the machine (" + e.Arch + ") has no atolld and the provider does not know which to install"
	}
	return fmt.Sprintf("the agent %s cannot be installed on a machine with %s: %v", e.Path, e.Arch, e.Err)
}

// Unwrap returns the cause.
func (e *BinaryError) Unwrap() error { return e.Err }
