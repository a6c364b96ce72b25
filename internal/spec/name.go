package spec

import "regexp"

// MaxNameLength is the longest name of a cluster or node, in characters. tinc turns a name into a file name, systemd into a
// host name, whose labels end at 63 (RFC 1035 §2.3.4); 40 leaves room for prefixes of units and interfaces.
const MaxNameLength = 40

var namePattern = regexp.MustCompile(`^[a-z]([a-z0-9-]*[a-z0-9])?$`)

// ValidateName reports what keeps name from being the name of a cluster or node: lower-case letters, digits and inner
// hyphens, beginning with a letter, at most MaxNameLength characters. Field is put into each problem.
func ValidateName(field, name string) Problems {
	var ps Problems
	switch {
	case name == "":
		ps.add(field, "give it a name", "is empty")
	case len(name) > MaxNameLength:
		ps.add(field, "shorten it", "has %d characters, more than %d", len(name), MaxNameLength)
	case !namePattern.MatchString(name):
		ps.add(field, "use lower-case letters, digits and inner hyphens, beginning with a letter", "%q is not a name", name)
	}
	return ps
}
