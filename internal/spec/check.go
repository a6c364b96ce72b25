package spec

import (
	"net/url"
	"slices"
	"strings"
)

// CheckType is how an application is asked whether it is well.
type CheckType string

// The types of checks.
const (
	// CheckHTTP asks for a page, on the node itself, and looks at the status of the answer.
	CheckHTTP CheckType = "http"
	// CheckTCP opens a connection.
	CheckTCP CheckType = "tcp"
	// CheckCommand runs a program on the node; exit code 0 is well.
	CheckCommand CheckType = "command"
)

// CheckTypes lists every type of check.
func CheckTypes() []CheckType { return []CheckType{CheckHTTP, CheckTCP, CheckCommand} }

// Bounds of a check, in seconds and in numbers of checks.
const (
	MaxCheckInterval = 300
	MaxCheckCount    = 10
)

// maxCommand is how long a check's command may be with its arguments, in bytes.
const maxCommand = 4 << 10

// ApplicationCheck asks an application on its own node whether it is well. Numbers that are 0 mean their defaults, which
// WithDefaults fills in.
type ApplicationCheck struct {
	Type CheckType `json:"type"`
	// Port is the TCP port to ask at, for http and tcp; 0 is the node's port of the application.
	Port int `json:"port,omitempty"`
	// Path and HostHeader are what to ask for, for http. Path begins with a slash; empty means "/".
	Path       string `json:"path,omitempty"`
	HostHeader string `json:"host_header,omitempty"`
	// Status is the HTTP status that means well; 0 is any from 200 to 399.
	Status int `json:"status,omitempty"`
	// Command is the program, by its absolute path, and its arguments.
	Command []string `json:"command,omitempty"`
	// Interval and Timeout are in seconds.
	Interval int `json:"interval,omitempty"`
	Timeout  int `json:"timeout,omitempty"`
	// Fall is how many checks have to fail in a row until the application is unwell, Rise how many have to succeed until it is
	// well again.
	Fall int `json:"fall,omitempty"`
	Rise int `json:"rise,omitempty"`
}

// WithDefaults returns the check with every number set: every second, given up after a second, unwell after two in a row,
// well after two.
func (c ApplicationCheck) WithDefaults() ApplicationCheck {
	for _, n := range []struct {
		at *int
		to int
	}{{&c.Interval, 1}, {&c.Timeout, 1}, {&c.Fall, 2}, {&c.Rise, 2}} {
		if *n.at == 0 {
			*n.at = n.to
		}
	}
	if c.Type == CheckHTTP && c.Path == "" {
		c.Path = "/"
	}
	return c
}

func (c ApplicationCheck) validate() Problems {
	var ps Problems
	if !slices.Contains(CheckTypes(), c.Type) {
		ps.add("type", "choose http, tcp or command", "%q is unknown", c.Type)
	}
	if c.Port != 0 {
		ps = append(ps, validatePort("port", c.Port)...)
	}
	ps = append(ps, c.validateHTTP()...)
	ps = append(ps, c.validateCommand()...)
	for _, n := range []struct {
		name       string
		value, max int
	}{{"interval", c.Interval, MaxCheckInterval}, {"timeout", c.Timeout, MaxCheckInterval}, {"fall", c.Fall, MaxCheckCount}, {"rise", c.Rise, MaxCheckCount}} {
		if n.value < 0 || n.value > n.max {
			ps.add(n.name, "", "%d is not between 1 and %d", n.value, n.max)
		}
	}
	return ps
}

// validateHTTP looks at what only an HTTP check has.
func (c ApplicationCheck) validateHTTP() Problems {
	var ps Problems
	if c.Type != CheckHTTP {
		for _, field := range []struct {
			name string
			set  bool
		}{{"path", c.Path != ""}, {"host_header", c.HostHeader != ""}, {"status", c.Status != 0}} {
			if field.set {
				ps.add(field.name, "take it away or choose type http", "is there, but the type is %q", c.Type)
			}
		}
		return ps
	}
	if c.Path != "" {
		if _, err := url.ParseRequestURI(c.Path); err != nil || !strings.HasPrefix(c.Path, "/") {
			ps.add("path", "begin with a slash, and write what is no plain character as %XX", "%q is not a path", c.Path)
		}
	}
	if c.HostHeader != "" {
		ps = append(ps, ValidateHost("host_header", c.HostHeader)...)
	}
	if c.Status != 0 && (c.Status < 200 || c.Status > 599) {
		ps.add("status", "", "%d is not a status that an answer can have (200 to 599)", c.Status)
	}
	return ps
}

// validateCommand looks at what only a command check has.
func (c ApplicationCheck) validateCommand() Problems {
	var ps Problems
	size := 0
	for _, word := range c.Command {
		size += len(word)
		if strings.ContainsRune(word, 0) {
			ps.add("command", "", "%q holds a zero byte", word)
		}
	}
	switch {
	case c.Type != CheckCommand && len(c.Command) > 0:
		ps.add("command", "take it away or choose type command", "is there, but the type is %q", c.Type)
	case c.Type == CheckCommand && (len(c.Command) == 0 || !strings.HasPrefix(c.Command[0], "/")):
		ps.add("command", "give the program's absolute path, then its arguments", "%q is not a command", c.Command)
	case size > maxCommand:
		ps.add("command", "put it into a program on the node", "has %d bytes, more than %d", size, maxCommand)
	}
	return ps
}
