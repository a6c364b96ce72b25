package digest

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io/fs"
	"time"

	"golang.org/x/sync/errgroup"
)

// DifferenceKind is a way in which two trees differ. The words "here" and "there" are those of Compare.
type DifferenceKind string

// The kinds of differences.
const (
	// MissingHere is only there, MissingThere only here; with a directory everything below it.
	MissingHere  DifferenceKind = "missing here"
	MissingThere DifferenceKind = "missing there"
	// OtherType is a file, directory or link here and not the same there.
	OtherType DifferenceKind = "type"
	// OtherContent is other bytes of a file, or another target of a link.
	OtherContent DifferenceKind = "content"
	// OtherMetadata is all else that counts: mode, owner, attributes, time.
	OtherMetadata DifferenceKind = "metadata"
	// NotRead could not be read here or there.
	NotRead DifferenceKind = "not read"
	// Changed changed between the digest and the comparison; only another digest tells.
	Changed DifferenceKind = "changed"
)

// Difference is one path that differs.
type Difference struct {
	// Path is below the tree's root, as bytes, empty for the root itself.
	Path []byte         `json:"path"`
	Kind DifferenceKind `json:"kind"`
	// Totals are what is behind by it: the entry on the side that has more of it.
	Totals Totals `json:"totals"`
	// Message says more about NotRead.
	Message string `json:"message,omitempty"`
}

// Comparison is what Compare found.
type Comparison struct {
	// Equal is true when the digests of both trees are.
	Equal bool `json:"equal"`
	// Here and There are all of both trees.
	Here  Totals `json:"here"`
	There Totals `json:"there"`
	// BehindHere is what this side has yet to get: what it misses, and files whose copy there was modified later.
	// BehindThere is the other way. Two versions of a file with one time count on both sides. A deletion that has not
	// arrived yet looks like something that is missing where it was deleted. What differs in metadata alone counts as a
	// file of no bytes on both sides.
	BehindHere  Totals `json:"behind_here"`
	BehindThere Totals `json:"behind_there"`
	// Differences are sorted by depth, then by path.
	Differences []Difference `json:"differences,omitempty"`
	// Truncated tells that the limit was reached: the trees differ by at least what is counted.
	Truncated bool `json:"truncated"`
}

// CompareOptions bound a comparison.
type CompareOptions struct {
	// Limit ends the walk after so many differences; 0 means no limit.
	Limit int
	// Parallel is how many directories are asked for at once on each side; 0 means 8.
	Parallel int
}

// SettingsError is two trees that were digested with different options: nothing can be said about them.
type SettingsError struct{ Here, There Sum }

// Error says what to do.
func (e *SettingsError) Error() string {
	return "the two sides digest with different settings (exclude patterns, permissions, owners, attributes): give both the same"
}

// pair is one directory that differs.
type pair struct {
	path        string
	here, there Directory
	gone        bool
}

// Compare walks two trees from their roots and enters only directories whose digests differ. It asks for directories of
// one depth in parallel, so that a slow network costs a little for each depth and not for each directory. An error of a
// Lister ends it, fs.ErrNotExist apart: that is a directory that went away meanwhile.
func Compare(ctx context.Context, here, there Lister, options CompareOptions) (Comparison, error) {
	if options.Parallel <= 0 {
		options.Parallel = 8
	}
	c := &comparing{limit: options.Limit}
	level := []pair{{}}
	for depth := 0; len(level) > 0; depth++ {
		// The limit may come long before a wide level's end: it is fetched in parts.
		for len(level) > 0 {
			part := level[:min(len(level), 4*options.Parallel)]
			level = level[len(part):]
			if err := fetch(ctx, part, here, there, options.Parallel); err != nil {
				return Comparison{}, err
			}
			if depth == 0 {
				root := &part[0]
				if root.gone {
					return Comparison{}, fmt.Errorf("compare trees: a root is missing: %w", fs.ErrNotExist)
				}
				if root.here.Settings != root.there.Settings {
					return Comparison{}, &SettingsError{root.here.Settings, root.there.Settings}
				}
				c.Here, c.There = root.here.Totals, root.there.Totals
				if root.here.Sum == root.there.Sum {
					c.Equal = true
					return c.Comparison, nil
				}
			}
			for i := range part {
				if c.directory(&part[i]); c.Truncated {
					return c.Comparison, nil
				}
				part[i] = pair{}
			}
		}
		level, c.next = c.next, nil
	}
	return c.Comparison, nil
}

// fetch asks both sides for directories.
func fetch(ctx context.Context, pairs []pair, here, there Lister, parallel int) error {
	g, ctx := errgroup.WithContext(ctx)
	g.SetLimit(2 * parallel)
	gone := make([]bool, 2*len(pairs))
	for i := range pairs {
		p := &pairs[i]
		ask := func(l Lister, to *Directory, gone *bool, side string) {
			g.Go(func() (err error) {
				*to, err = l.Directory(ctx, p.path)
				if errors.Is(err, fs.ErrNotExist) {
					*gone = true
					return nil
				}
				if err != nil {
					return fmt.Errorf("compare trees: directory %q %s: %w", p.path, side, err)
				}
				return nil
			})
		}
		ask(here, &p.here, &gone[2*i], "here")
		ask(there, &p.there, &gone[2*i+1], "there")
	}
	if err := g.Wait(); err != nil {
		return err
	}
	for i := range pairs {
		pairs[i].gone = gone[2*i] || gone[2*i+1]
	}
	return nil
}

// comparing is a comparison that is under way.
type comparing struct {
	Comparison
	limit int
	next  []pair
}

func (c *comparing) add(path string, kind DifferenceKind, totals Totals, message string) {
	if c.limit > 0 && len(c.Differences) == c.limit {
		c.Truncated = true
		return
	}
	c.Differences = append(c.Differences, Difference{Path: []byte(path), Kind: kind, Totals: totals, Message: message})
	switch kind {
	case MissingHere:
		c.BehindHere.add(totals)
	case MissingThere:
		c.BehindThere.add(totals)
	case OtherMetadata, NotRead:
		c.BehindHere.add(totals)
		c.BehindThere.add(totals)
	default: // OtherContent and OtherType say by themselves who is behind; Changed is nobody's.
	}
}

// directory merges the entries of both sides, which are sorted by name.
func (c *comparing) directory(p *pair) {
	found, later := len(c.Differences), len(c.next)
	a, b := p.here.Entries, p.there.Entries
	for !c.Truncated && !p.gone && (len(a) > 0 || len(b) > 0) {
		order := 0
		switch {
		case len(a) == 0:
			order = 1
		case len(b) == 0:
			order = -1
		default:
			order = bytes.Compare(a[0].Name, b[0].Name)
		}
		switch {
		case order < 0:
			c.alone(p.path, &a[0], MissingThere)
			a = a[1:]
		case order > 0:
			c.alone(p.path, &b[0], MissingHere)
			b = b[1:]
		default:
			c.both(p.path, &a[0], &b[0])
			a, b = a[1:], b[1:]
		}
	}
	if p.gone || len(c.Differences) == found && len(c.next) == later {
		c.add(p.path, Changed, Totals{}, "")
	}
}

// whole is everything that an entry stands for, itself included.
func (e *Entry) whole() Totals {
	t := e.Totals
	if e.Kind == Folder {
		t.Directories++
	}
	return t
}

// path is the entry's path; an entry without a name is a problem of the directory itself.
func (e *Entry) path(directory string) string {
	switch {
	case len(e.Name) == 0:
		return directory
	case directory == "":
		return string(e.Name)
	default:
		return directory + "/" + string(e.Name)
	}
}

func (c *comparing) alone(path string, e *Entry, kind DifferenceKind) {
	if e.Problem != nil {
		c.add(e.path(path), NotRead, Totals{Files: 1}, e.Problem.Message)
		return
	}
	c.add(e.path(path), kind, e.whole(), "")
}

func (c *comparing) both(directory string, a, b *Entry) {
	path := a.path(directory)
	switch {
	case a.Problem != nil:
		c.add(path, NotRead, Totals{Files: 1}, "here: "+a.Problem.Message)
	case b.Problem != nil:
		c.add(path, NotRead, Totals{Files: 1}, "there: "+b.Problem.Message)
	case a.Kind != b.Kind:
		c.versions(path, OtherType, a, b)
	case a.Content != b.Content && a.Kind == Folder:
		c.next = append(c.next, pair{path: path})
		if a.Meta != b.Meta {
			c.add(path, OtherMetadata, Totals{Directories: 1}, "")
		}
	case a.Content != b.Content:
		c.versions(path, OtherContent, a, b)
	case a.Meta != b.Meta:
		of := Totals{Files: 1}
		if a.Kind == Folder {
			of = Totals{Directories: 1}
		}
		c.add(path, OtherMetadata, of, "")
	}
}

// versions counts two versions: the older one is behind.
func (c *comparing) versions(path string, kind DifferenceKind, a, b *Entry) {
	order := a.Modified.Truncate(time.Second).Compare(b.Modified.Truncate(time.Second))
	more := a.whole()
	if order < 0 || order == 0 && b.Totals.Bytes > a.Totals.Bytes {
		more = b.whole()
	}
	if c.add(path, kind, more, ""); c.Truncated {
		return
	}
	if order <= 0 {
		c.BehindHere.add(b.whole())
	}
	if order >= 0 {
		c.BehindThere.add(a.whole())
	}
}
