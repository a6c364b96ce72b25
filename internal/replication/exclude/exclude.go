// Package exclude is the one syntax in which a pair says what of its tree stays on its own node. Whatever replicates,
// watches or compares a tree reads the same patterns, so that they can never mean two things.
//
// The syntax is that of gitignore without negation, without patterns for directories only, and on bytes:
//
//   - A pattern without a slash is a name and matches at any depth: "*.tmp".
//   - A pattern with a slash is a path from the tree's root: "cache/**", "/lost+found".
//   - "*" is any number of bytes, "?" one byte, "[a-z]" and "[!a-z]" one byte of or not of ASCII characters; none of them
//     matches a slash, each matches a leading dot.
//   - "**" as a whole part of a path is any number of directories: "**/build/x" and "a/**/b" match with none, too;
//     "cache/**" is everything in cache and not cache itself.
//   - "\" takes the next character for itself.
//
// What matches stays out with everything below it. Letters match by case. These are exactly the patterns that every
// tool with regular expressions over paths can say, too: see Set.Regexps.
package exclude

import (
	"fmt"
	"strings"
)

// Set is a list of patterns. It is immutable and safe for concurrent use; the nil Set excludes nothing.
type Set struct {
	patterns []pattern
}

// PatternError is a pattern that is none.
type PatternError struct {
	Pattern string
	// Reason says what is wrong and what to write instead.
	Reason string
}

// Error names the pattern and the reason.
func (e *PatternError) Error() string {
	return fmt.Sprintf("exclude pattern %q: %s", e.Pattern, e.Reason)
}

// Parse reads patterns. The first that is none is a *PatternError.
func Parse(patterns []string) (*Set, error) {
	set := &Set{}
	for _, text := range patterns {
		p, err := parse(text)
		if err != nil {
			return nil, err
		}
		set.patterns = append(set.patterns, p)
	}
	return set, nil
}

// With returns a set that excludes what s excludes and what more patterns say.
func (s *Set) With(more ...string) (*Set, error) {
	return Parse(append(s.Patterns(), more...))
}

// Patterns returns the patterns as they were given.
func (s *Set) Patterns() []string {
	if s == nil {
		return nil
	}
	texts := make([]string, 0, len(s.patterns))
	for _, p := range s.patterns {
		texts = append(texts, p.text)
	}
	return texts
}

// Match reports whether a pattern matches the path itself: relative to the tree's root, slashes between its parts, no
// slash at its ends. Who walks a tree from above asks this and enters no directory that matches. The root, "", never
// matches.
func (s *Set) Match(path string) bool {
	if s == nil || path == "" {
		return false
	}
	name := path[strings.LastIndexByte(path, '/')+1:]
	for i := range s.patterns {
		if s.patterns[i].match(path, name) {
			return true
		}
	}
	return false
}

// Covers reports whether a pattern matches the path or a directory above it. Who hears of single paths asks this.
func (s *Set) Covers(path string) bool {
	if s == nil {
		return false
	}
	for i := 0; i < len(path); i++ {
		if path[i] == '/' && s.Match(path[:i]) {
			return true
		}
	}
	return s.Match(path)
}

// Defaults returns patterns of temporary files, which belong to the program that writes them on its own node: editors,
// browsers and network file systems leave them, uploads are written under these names until they are whole, and the
// file system keeps lost+found for itself. The result is the caller's.
func Defaults() []string {
	return []string{
		"*.tmp", "*.temp", "*~", // many programs
		"*.part", "*.partial", "*.filepart", "*.crdownload", // uploads and downloads that are not whole yet
		".*.sw[a-p]", "#*#", ".#*", // vim, Emacs
		".nfs*", ".fuse_hidden*", // removed while open
		".~tmp~", // rsync --delay-updates
		".DS_Store", "Thumbs.db",
		"/lost+found",
	}
}
