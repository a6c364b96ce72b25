package spec

import (
	"fmt"
	"strings"
)

// Problem is one thing that is wrong with an object. Field is the path of the offending field in the object's JSON form
// (for example "mesh.tinc.ping_timeout"), which the provider maps to the attribute of the same name.
type Problem struct {
	Field   string `json:"field"`
	Message string `json:"message"`
	Remedy  string `json:"remedy,omitempty"`
}

// Error returns the field, what is wrong with it and what to do.
func (p Problem) Error() string {
	text := p.Field + ": " + p.Message
	if p.Remedy != "" {
		text += "; " + p.Remedy
	}
	return text
}

// Problems is everything that is wrong with an object, in the order found. A nil or empty Problems means valid.
type Problems []Problem

// Error joins the problems, one a line.
func (ps Problems) Error() string {
	lines := make([]string, len(ps))
	for i, p := range ps {
		lines[i] = p.Error()
	}
	return strings.Join(lines, "\n")
}

// Err returns ps as an error, or nil when there is no problem.
func (ps Problems) Err() error {
	if len(ps) == 0 {
		return nil
	}
	return ps
}

// Under returns the problems with prefix put before each field path.
func (ps Problems) Under(prefix string) Problems {
	out := make(Problems, len(ps))
	for i, p := range ps {
		p.Field = prefix + "." + p.Field
		out[i] = p
	}
	return out
}

func (ps *Problems) add(field, remedy, format string, args ...any) {
	*ps = append(*ps, Problem{Field: field, Message: fmt.Sprintf(format, args...), Remedy: remedy})
}
