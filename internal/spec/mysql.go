package spec

import (
	"maps"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"unicode"
)

// mysqlSettingPattern is the form of the names of MySQL's system variables.
var mysqlSettingPattern = regexp.MustCompile(`^[a-z][a-z0-9_]*$`)

// maxSetting is how long the value of a setting may be, in bytes: every node keeps it.
const maxSetting = 1024

// ValidateMySQLSettings reports what keeps settings from being those of a replicated MySQL: names that no system variable has,
// variables that Atoll sets itself, and values that lose data or stop the group, each with the reason. Whether the server of a
// node knows a variable and takes its value is found out there.
func ValidateMySQLSettings(field string, settings map[string]string) Problems {
	var ps Problems
	for _, name := range slices.Sorted(maps.Keys(settings)) {
		ps = append(ps, validateMySQLSetting(field+"."+name, name, settings[name])...)
	}
	return ps
}

func validateMySQLSetting(field, name, value string) Problems {
	var ps Problems
	switch {
	case !mysqlSettingPattern.MatchString(name):
		ps.add(field, "write it as SHOW VARIABLES does: lower-case letters, digits and underscores", "%q is not the name of a system variable", name)
		return ps
	case len(value) > maxSetting:
		ps.add(field, "shorten it", "has %d bytes, more than %d", len(value), maxSetting)
	case strings.ContainsFunc(value, func(r rune) bool { return !unicode.IsPrint(r) }):
		// A line break would begin another setting.
		ps.add(field, "write one line of plain text", "%q holds characters that cannot be in a setting", value)
		return ps
	}
	if reason, owned := ownedMySQLSetting(name); owned {
		ps.add(field, "take it out of settings", "%s", reason)
		return ps
	}
	if full := abbreviated(name); full != "" {
		ps.add(field, "write the whole name of a variable", "the server would take it for %s", full)
	}
	if bound, ok := boundMySQLSettings()[name]; ok && !slices.Contains(bound.allowed, normalMySQLValue(value, bound.allowed)) {
		ps.add(field, "leave it out, or choose one of "+strings.Join(bound.allowed, ", "), "%q: %s", value, bound.reason)
	}
	if n, err := strconv.Atoi(value); name == "max_connections" && (err != nil || n < fewestConnections) {
		ps.add(field, "choose more", "is %q; members, routers and agents need %d among themselves before anybody else", value, fewestConnections)
	}
	return ps
}

// normalMySQLValue returns a value as the list of what is allowed spells it: the server takes 1, ON and TRUE for the same.
func normalMySQLValue(value string, allowed []string) string {
	v := strings.ToUpper(strings.TrimSpace(value))
	if !slices.Contains(allowed, "ON") && !slices.Contains(allowed, "OFF") {
		for _, a := range allowed {
			if strings.EqualFold(a, v) {
				return a
			}
		}
		return v
	}
	switch v {
	case "1", "TRUE":
		return "ON"
	case "0", "FALSE":
		return "OFF"
	}
	return v
}

// ownedMySQLSetting tells why a setting is not the operator's.
func ownedMySQLSetting(name string) (reason string, owned bool) {
	if reason, owned = ownedMySQLSettings()[name]; owned {
		return reason, true
	}
	if slices.Contains(freeMySQLSettings(), name) {
		return "", false
	}
	for _, p := range ownedMySQLPrefixes() {
		if strings.HasPrefix(name, p.prefix) {
			return p.reason, true
		}
	}
	return "", false
}

// abbreviated returns the setting with a rule of its own that name is the beginning of: the server takes an option for another
// one that begins like it.
func abbreviated(name string) string {
	if slices.Contains(freeMySQLSettings(), name) {
		return ""
	}
	ruled := slices.Concat(slices.Collect(maps.Keys(ownedMySQLSettings())), slices.Collect(maps.Keys(boundMySQLSettings())))
	if slices.Contains(ruled, name) {
		return ""
	}
	slices.Sort(ruled)
	for _, full := range ruled {
		if strings.HasPrefix(full, name) {
			return full
		}
	}
	return ""
}
