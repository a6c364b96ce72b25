package spec

import (
	"fmt"
	"regexp"
	"strconv"
	"strings"
	"time"
)

// DefaultDatePattern is how most applications that file by date name their directories.
const DefaultDatePattern = "YYYY/MM/DD"

// DatePattern tells directories whose names hold a date: YYYY, MM and DD stand for it, a star for one directory of any name. It is immutable
// and safe for concurrent use.
type DatePattern struct {
	text     string
	segments []*regexp.Regexp
	whole    *regexp.Regexp
	// order says which token each group of whole is.
	order []string
}

// DatePatternError is a pattern that is none.
type DatePatternError struct {
	Pattern string
	// Reason says what is wrong and what to write instead.
	Reason string
}

// Error names the pattern and the reason.
func (e *DatePatternError) Error() string {
	return fmt.Sprintf("%q is no pattern of dates: %s", e.Pattern, e.Reason)
}

// maxDatePattern is how long a pattern may be, in characters.
const maxDatePattern = 120

// dateTokens are what stands for a date, in the order in which they have to come, and what matches each.
var dateTokens = []struct{ name, digits string }{{"YYYY", `(\d{4})`}, {"MM", `(\d{2})`}, {"DD", `(\d{2})`}}

// ParseDatePattern reads a pattern. One that is none is a *DatePatternError.
func ParseDatePattern(text string) (DatePattern, error) {
	p := DatePattern{text: text}
	fail := func(reason string) error { return &DatePatternError{Pattern: text, Reason: reason} }
	switch {
	case text == "":
		return DatePattern{}, fail("it is empty: write " + DefaultDatePattern)
	case len(text) > maxDatePattern:
		return DatePattern{}, fail(fmt.Sprintf("it has %d characters, more than %d", len(text), maxDatePattern))
	}
	var expressions []string
	for part := range strings.SplitSeq(text, "/") {
		switch {
		case part == "":
			return DatePattern{}, fail("write the path from the tree's root, without slashes at its ends or two in a row")
		case strings.HasPrefix(part, "."):
			return DatePattern{}, fail(fmt.Sprintf("%q begins with a dot", part))
		case part == "*":
			expressions = append(expressions, `[^/.][^/]*`)
			continue
		case strings.ContainsFunc(part, func(r rune) bool { return r <= ' ' || r >= 0x7f || strings.ContainsRune(`"'\%$*?[]`, r) }):
			return DatePattern{}, fail(fmt.Sprintf("%q has characters that are not taken; a star stands for a whole directory", part))
		}
		expression := ""
		for part != "" {
			found := false
			for i, token := range dateTokens {
				rest, ok := strings.CutPrefix(part, token.name)
				if !ok {
					continue
				}
				if i != len(p.order) {
					return DatePattern{}, fail("it needs YYYY, then MM, then DD, each once; MM and DD may be left out from the end")
				}
				p.order = append(p.order, token.name)
				expression, part, found = expression+token.digits, rest, true
				break
			}
			if !found {
				expression, part = expression+regexp.QuoteMeta(part[:1]), part[1:]
			}
		}
		expressions = append(expressions, expression)
	}
	if len(p.order) == 0 {
		return DatePattern{}, fail("it has no YYYY")
	}
	if last := expressions[len(expressions)-1]; !strings.Contains(last, "(") {
		return DatePattern{}, fail("its last directory has no date, and it is what is moved")
	}
	for _, expression := range expressions {
		p.segments = append(p.segments, regexp.MustCompile(`^(?s:`+expression+`)$`))
	}
	p.whole = regexp.MustCompile(`^(?s:` + strings.Join(expressions, "/") + `)$`)
	return p, nil
}

// String returns the pattern as it was written.
func (p DatePattern) String() string { return p.text }

// Depth is how many directories below the tree's root one that matches is.
func (p DatePattern) Depth() int { return len(p.segments) }

// MatchName tells whether a directory of that name at that depth, 0 in the root, may be or hold one that matches.
func (p DatePattern) MatchName(depth int, name string) bool {
	return depth < len(p.segments) && p.segments[depth].MatchString(name)
}

// Ends returns when the day, month or year ends that a path from the tree's root is of, in UTC, and whether it is of one.
func (p DatePattern) Ends(path string) (time.Time, bool) {
	m := p.whole.FindStringSubmatch(path)
	if m == nil {
		return time.Time{}, false
	}
	date := [3]int{0, 1, 1}
	for i := range p.order {
		n, err := strconv.Atoi(m[i+1])
		if err != nil {
			return time.Time{}, false
		}
		date[i] = n
	}
	begins := time.Date(date[0], time.Month(date[1]), date[2], 0, 0, 0, 0, time.UTC)
	if begins.Year() != date[0] || int(begins.Month()) != date[1] || begins.Day() != date[2] {
		return time.Time{}, false // such as 30 February
	}
	switch len(p.order) {
	case 1:
		return begins.AddDate(1, 0, 0), true
	case 2:
		return begins.AddDate(0, 1, 0), true
	}
	return begins.AddDate(0, 0, 1), true
}

// Due tells whether a path is of a day, month or year that has ended so many days ago or earlier.
func (p DatePattern) Due(path string, olderThanDays int, now time.Time) bool {
	ends, ok := p.Ends(path)
	return ok && !now.Before(ends.AddDate(0, 0, olderThanDays))
}
