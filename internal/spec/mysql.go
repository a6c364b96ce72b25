package spec

import (
	"maps"
	"regexp"
	"slices"
)

// mysqlSettingPattern is the form of the names of MySQL's system variables.
var mysqlSettingPattern = regexp.MustCompile(`^[a-z][a-z0-9_]*$`)

// ValidateMySQLSettings reports what keeps settings from being MySQL's.
func ValidateMySQLSettings(field string, settings map[string]string) Problems {
	var ps Problems
	for _, name := range slices.Sorted(maps.Keys(settings)) {
		if !mysqlSettingPattern.MatchString(name) {
			ps.add(field+"."+name, "write it as SHOW VARIABLES does: lower-case letters, digits and underscores", "%q is not the name of a system variable", name)
		}
	}
	return ps
}
