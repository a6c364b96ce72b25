package router

import (
	"errors"
	"fmt"
	"regexp"
	"strings"
	"unicode"
)

// InvalidError says why no driver can make a router of a configuration.
type InvalidError struct {
	Database string
	Message  string
}

// Error names the database and what is wrong.
func (e *InvalidError) Error() string {
	return fmt.Sprintf("the router of database %q cannot be made: %s", e.Database, e.Message)
}

// PortTakenError says that another program has a router's port.
type PortTakenError struct {
	Database string
	Port     int
	// At is the address that the other program listens on.
	At string
}

// Error says which port and what to do.
func (e *PortTakenError) Error() string {
	return fmt.Sprintf("the router of database %q cannot have port %d: another program listens on %s; stop it or give the database's router other ports",
		e.Database, e.Port, e.At)
}

// namePattern is that of package spec, which this package has no other use for: names become those of units and files.
var namePattern = regexp.MustCompile(`^[a-z0-9]([a-z0-9-]{0,62}[a-z0-9])?$`)

// Valid returns the databases that drivers can serve, and an *InvalidError for each of the others. Drivers call it first, because
// what they write goes into configuration files of programs: a value must not become another line there. One that is not valid
// stays as it was, and is no reason to leave the others alone.
func (c *Config) Valid() ([]Database, error) {
	ports := map[int]string{}
	names := map[string]bool{}
	var valid []Database
	var problems []error
	for _, d := range c.Databases {
		message := d.problem()
		if message == "" && names[d.Name] {
			message = "it is there twice"
		}
		for _, port := range []int{d.WritePort, d.ReadPort} {
			if other, taken := ports[port]; taken && message == "" {
				message = fmt.Sprintf("port %d is also one of the router of database %q", port, other)
			}
		}
		if message == "" && d.WritePort == d.ReadPort {
			message = fmt.Sprintf("port %d is for writes and for reads", d.WritePort)
		}
		if message != "" {
			problems = append(problems, &InvalidError{d.Name, message})
			continue
		}
		names[d.Name] = true
		ports[d.WritePort], ports[d.ReadPort] = d.Name, d.Name
		valid = append(valid, d)
	}
	return valid, errors.Join(problems...)
}

func (d *Database) problem() string {
	switch {
	case !namePattern.MatchString(d.Name):
		return "a name has lower-case letters, digits and inner hyphens"
	case len(d.Members) == 0:
		return "it has no members yet"
	case d.User == "" || d.Password == "":
		return "the account of routers is missing"
	}
	for what, text := range map[string]string{"group": d.Group, "user": d.User, "node": d.Node} {
		if strings.ContainsFunc(text, func(r rune) bool { return unicode.IsControl(r) || unicode.IsSpace(r) }) {
			return fmt.Sprintf("its %s %q has a space or control character", what, text)
		}
	}
	for _, port := range []int{d.WritePort, d.ReadPort} {
		if port < 1 || port > 65535 {
			return fmt.Sprintf("%d is no port", port)
		}
	}
	for _, m := range d.Members {
		switch {
		case !namePattern.MatchString(m.Node):
			return fmt.Sprintf("%q cannot be the name of a member's node", m.Node)
		case !m.Address.IsValid() || m.Address.Port() == 0:
			return fmt.Sprintf("the address of member %s is missing", m.Node)
		}
	}
	return ""
}
