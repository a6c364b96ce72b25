//go:build linux

package drills

import (
	"errors"
	"fmt"
	"path"
	"strings"
)

// ErrNoDrill means that a pattern fits none.
var ErrNoDrill = errors.New("no such drill")

// Choose returns the drills that one of the patterns fits, in their order: a name, an area such as "edge", or a pattern such as
// "edge/*cut*". Without patterns it is all of them, long ones only when long.
func Choose(all []Drill, patterns []string, long bool) ([]Drill, error) {
	used := map[string]bool{}
	var out []Drill
	for _, d := range all {
		wanted := len(patterns) == 0 && (long || !d.Long)
		for _, p := range patterns {
			fits, err := path.Match(p, d.Name)
			if err != nil {
				return nil, fmt.Errorf("%w: %q: %w", ErrNoDrill, p, err)
			}
			byArea := strings.HasPrefix(d.Name, p+"/")
			if !fits && !byArea {
				continue
			}
			used[p] = true
			wanted = wanted || p == d.Name || long || !d.Long
		}
		if wanted {
			out = append(out, d)
		}
	}
	for _, p := range patterns {
		if !used[p] {
			return nil, fmt.Errorf("%w: %q", ErrNoDrill, p)
		}
	}
	return out, nil
}
