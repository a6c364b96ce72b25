// Package gtid reads MySQL's sets of global transaction identifiers, to tell people what one member has and another does not. It is
// pure; what members do is decided by their servers' own arithmetic.
package gtid

import (
	"errors"
	"fmt"
	"maps"
	"slices"
	"strconv"
	"strings"
)

// Set is a set of transactions: for each source (the UUID of a server or group, with a tag where there is one) the intervals of their
// numbers, sorted, none touching another.
type Set map[string][]interval

type interval struct{ from, to uint64 }

// ErrMalformed is returned for a text that is no set.
var ErrMalformed = errors.New("no set of transaction identifiers")

// Parse reads a set in the form of MySQL's gtid_executed: "UUID:1-5:7,UUID:tag:1-3". Blanks and line breaks do not count.
func Parse(text string) (Set, error) {
	out := Set{}
	for part := range strings.SplitSeq(strings.Join(strings.Fields(text), ""), ",") {
		if part == "" {
			continue
		}
		fields := strings.Split(part, ":")
		if len(fields) < 2 || len(fields[0]) != 36 {
			return nil, fmt.Errorf("%w: %q", ErrMalformed, part)
		}
		source := strings.ToLower(fields[0])
		for _, f := range fields[1:] {
			if f != "" && (f[0] < '0' || f[0] > '9') {
				source = strings.ToLower(fields[0]) + ":" + f
				continue
			}
			one, err := parseInterval(f)
			if err != nil {
				return nil, err
			}
			out[source] = append(out[source], one)
		}
	}
	for source := range out {
		out[source] = merge(out[source])
	}
	return out, nil
}

func parseInterval(text string) (interval, error) {
	first, last, both := strings.Cut(text, "-")
	from, err := strconv.ParseUint(first, 10, 63)
	to := from
	if err == nil && both {
		to, err = strconv.ParseUint(last, 10, 63)
	}
	if err != nil || from == 0 || to < from {
		return interval{}, fmt.Errorf("%w: %q", ErrMalformed, text)
	}
	return interval{from, to}, nil
}

func merge(in []interval) []interval {
	slices.SortFunc(in, func(a, b interval) int {
		if a.from < b.from {
			return -1
		}
		return 1
	})
	var out []interval
	for _, i := range in {
		if n := len(out); n > 0 && i.from <= out[n-1].to+1 {
			out[n-1].to = max(out[n-1].to, i.to)
			continue
		}
		out = append(out, i)
	}
	return out
}

// Minus returns what s has and other does not.
func (s Set) Minus(other Set) Set {
	out := Set{}
	for source, mine := range s {
		var left []interval
		for _, i := range mine {
			left = append(left, i.minus(other[source])...)
		}
		if len(left) > 0 {
			out[source] = left
		}
	}
	return out
}

// minus cuts sorted intervals out of one.
func (i interval) minus(cuts []interval) []interval {
	var out []interval
	for _, c := range cuts {
		if c.to < i.from || c.from > i.to {
			continue
		}
		if c.from > i.from {
			out = append(out, interval{i.from, c.from - 1})
		}
		if c.to >= i.to {
			return out
		}
		i.from = c.to + 1
	}
	return append(out, i)
}

// Union returns what s or other has.
func (s Set) Union(other Set) Set {
	out := Set{}
	for _, one := range []Set{s, other} {
		for source, intervals := range one {
			out[source] = append(out[source], intervals...)
		}
	}
	for source := range out {
		out[source] = merge(out[source])
	}
	return out
}

// Count returns how many transactions the set has.
func (s Set) Count() uint64 {
	n := uint64(0)
	for _, intervals := range s {
		for _, i := range intervals {
			n += i.to - i.from + 1
		}
	}
	return n
}

// String returns the set in MySQL's form.
func (s Set) String() string {
	var parts []string
	for _, source := range slices.Sorted(maps.Keys(s)) {
		text := source
		for _, i := range s[source] {
			if text += ":" + strconv.FormatUint(i.from, 10); i.to > i.from {
				text += "-" + strconv.FormatUint(i.to, 10)
			}
		}
		parts = append(parts, text)
	}
	return strings.Join(parts, ",")
}
