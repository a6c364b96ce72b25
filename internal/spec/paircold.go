package spec

import (
	"errors"
	"fmt"
)

// Bounds and defaults of what a pair does with old directories.
const (
	// DefaultColdInterval is how often old directories are moved, in minutes.
	DefaultColdInterval = 24 * 60
	// MinColdInterval is how often that can be, in minutes.
	MinColdInterval = 5
	// DefaultColdTakeover is how long the other node has to be gone until a node moves directories alone, in hours.
	DefaultColdTakeover = 24
	// maxColdDays is how old a directory can have to be, in days.
	maxColdDays = 36500
)

// PairCold is how directories that are named by an old date are moved out of a pair's trees.
type PairCold struct {
	// OlderThan is how many days ago the day, month or year of a directory has to have ended.
	OlderThan int `json:"older_than_days"`
	// Pattern is where directories hold a date (DatePattern).
	Pattern string `json:"pattern"`
	// Interval is how often directories are moved and what has changed in them is brought over, in minutes.
	Interval int `json:"interval_minutes"`
	// Takeover is how long the other node has to be gone until the one that is left moves directories alone, in hours; 0 for never.
	Takeover int `json:"takeover_hours,omitempty"`
}

// ValidateDatePattern reports what keeps text from being a pattern of dates.
func ValidateDatePattern(field, text string) Problems {
	_, err := ParseDatePattern(text)
	var wrong *DatePatternError
	var ps Problems
	if errors.As(err, &wrong) {
		ps.add(field, "write for example "+DefaultDatePattern, "%q is no pattern of dates: %s", text, wrong.Reason)
	}
	return ps
}

// ValidateCold reports what keeps cold from being the cold root of a node whose tree is at path.
func ValidateCold(field, cold, path string) Problems {
	ps := ValidateTree(field, cold)
	if len(ps) == 0 && path != "" && (cold == path || Within(cold, path) || Within(path, cold)) {
		ps.add(field, "choose a directory that has nothing in common with it", "%s and the tree %s lie within one another", cold, path)
	}
	return ps
}

func (p Pair) validateCold() Problems {
	var ps Problems
	for _, node := range p.Nodes() {
		end, field := p.Ends[node], "ends."+node+".cold_path"
		switch {
		case p.Cold == nil && end.ColdPath != "":
			ps.add(field, "say which directories are moved there, or leave it out", "is for nothing without cold")
		case p.Cold != nil && end.ColdPath == "":
			ps.add(field, "name a directory for old files on each of the two nodes", "is missing")
		case p.Cold != nil:
			ps = append(ps, ValidateCold(field, end.ColdPath, end.Path)...)
		}
	}
	if p.Cold == nil {
		return ps
	}
	return append(ps, p.Cold.validate().Under("cold")...)
}

func (c PairCold) validate() Problems {
	ps := ValidateDatePattern("pattern", c.Pattern)
	if c.OlderThan < 1 || c.OlderThan > maxColdDays {
		ps.add("older_than_days", fmt.Sprintf("choose one from 1 to %d", maxColdDays), "is %d", c.OlderThan)
	}
	if c.Interval < MinColdInterval {
		ps.add("interval_minutes", fmt.Sprintf("choose at least %d", MinColdInterval), "is %d", c.Interval)
	}
	if c.Takeover < 0 {
		ps.add("takeover_hours", "write 0 for never", "is %d", c.Takeover)
	}
	return ps
}
