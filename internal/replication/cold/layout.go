package cold

import (
	"errors"
	"fmt"
	"io"
	"io/fs"
	"net/url"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"time"

	"github.com/atollhq/terraform-provider-atoll/internal/spec"
)

// Dir is the directory of this package's own in the root of each tree, and in each cold root. In a tree it is no part of the data.
const Dir = ".atoll-cold"

// RootLink is a link in each tree that leads to the cold root.
const RootLink = Dir + "/root"

const (
	asideDir   = Dir + "/aside"
	marker     = Dir + "/pair"
	stagingDir = Dir + "/staging"
	keptDir    = Dir + "/kept"
	// maxID is how long a name may be on every file system, in bytes.
	maxID = 255
)

// Problem is what keeps directories from being moved, in words for an operator: what it is, and what to do.
type Problem string

// Error returns the text.
func (p Problem) Error() string { return string(p) }

// Config is one node's side.
type Config struct {
	// Pair is the pair's name, Node this node's.
	Pair string `json:"pair"`
	Node string `json:"node"`
	// Tree is the root of the hot part, Root of the cold one.
	Tree string `json:"tree"`
	Root string `json:"root"`
	// Marker is a path from the tree's root that has to be there, or the tree is not.
	Marker string `json:"marker"`
	// Pattern is which directories hold a date (spec.DatePattern), OlderThan how many days ago it has to have ended.
	Pattern   string `json:"pattern"`
	OlderThan int    `json:"older_than_days"`
	// Exclude are the patterns of what the hot part leaves on its node.
	Exclude []string `json:"exclude,omitempty"`
	// Settled is how long nothing may have changed in a directory before it is moved.
	Settled time.Duration `json:"settled"`
	// RunDir is where sockets are.
	RunDir string `json:"run_dir"`
}

// Exclude returns the patterns of what in a cold root is no file of the pair's.
func Exclude() []string { return []string{"/" + Dir, "/lost+found"} }

// There fails with a Problem unless a root is there and the pair's.
func There(root, pair string) error {
	dir, err := os.OpenRoot(root)
	if err != nil {
		return Problem(fmt.Sprintf("the cold root %s is not there: %v", root, err))
	}
	defer func() { _ = dir.Close() }()
	name, err := readMarker(dir)
	switch {
	case err != nil:
		return Problem(fmt.Sprintf("the cold root %s is not what it was, or was not used yet: %v", root, err))
	case name != pair:
		return Problem(fmt.Sprintf("the cold root %s is that of pair %q", root, name))
	}
	return nil
}

// readMarker returns the pair that a root says it belongs to. Whoever owns the root may have put anything there.
func readMarker(dir *os.Root) (pair string, err error) {
	f, err := dir.OpenFile(marker, os.O_RDONLY|syscall.O_NONBLOCK, 0)
	if err != nil {
		return "", err
	}
	defer func() { _ = f.Close() }()
	if info, err := f.Stat(); err != nil || !info.Mode().IsRegular() {
		return "", errors.Join(err, fmt.Errorf("%s is no file", marker))
	}
	const most = 1 << 10 // more than a name has
	text, err := io.ReadAll(io.LimitReader(f, most))
	return strings.TrimSpace(string(text)), err
}

// Release gives a root up: another pair may take it. What is there stays, and links go on to lead there.
func Release(root string) (err error) {
	dir, err := os.OpenRoot(root)
	if errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	if err != nil {
		return err
	}
	defer func() { _ = dir.Close() }()
	// Whoever owns the directory may have put anything in its place.
	if info, err := dir.Lstat(marker); err != nil || !info.Mode().IsRegular() {
		return nil //nolint:nilerr // it is not ours
	}
	f, err := dir.OpenFile(marker, os.O_WRONLY|os.O_TRUNC|syscall.O_NONBLOCK, 0)
	if err != nil {
		return err
	}
	return f.Close()
}

// id is the name of what belongs to a directory where names of directories are flat; there may be several of one, told apart by n.
func id(n int, dir string) (string, error) {
	name := strconv.Itoa(n) + "." + url.PathEscape(dir)
	if len(name) > maxID {
		return "", Problem(fmt.Sprintf("directory %q is not moved: its path is longer than %d bytes", dir, maxID))
	}
	return name, nil
}

// dirOf returns the directory whose id a name is.
func dirOf(name string) (string, bool) {
	_, escaped, ok := strings.Cut(name, ".")
	dir, err := url.PathUnescape(escaped)
	return dir, ok && err == nil && filepath.IsLocal(dir) && filepath.Clean(dir) == dir
}

// linkText is what the link in a directory's place holds.
func linkText(dir string) string {
	return strings.Repeat("../", strings.Count(dir, "/")) + RootLink + "/" + dir
}

// pattern reads the pattern, which the agent has checked already.
func (c Config) pattern() (spec.DatePattern, error) {
	p, err := spec.ParseDatePattern(c.Pattern)
	if err != nil {
		return p, fmt.Errorf("pair %s: %w", c.Pair, err)
	}
	return p, nil
}

func (c Config) hot(path string) string { return filepath.Join(c.Tree, path) }

func (c Config) cold(path string) string { return filepath.Join(c.Root, path) }
