package worker

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"os/user"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
)

// Problem is what keeps a pair from being synchronized, in words for an operator: what it is, and what to do.
type Problem string

// Error returns the text.
func (p Problem) Error() string { return string(p) }

// Account is the account that a tree belongs to.
type Account struct {
	UID, GID int
	// Groups are the further groups of the user.
	Groups []int
	Home   string
}

// LookupAccount returns the account that a pair is kept as. A user or group that is not there is a Problem.
func LookupAccount(owner, group string) (Account, error) {
	u, err := user.Lookup(owner)
	if err != nil {
		return Account{}, Problem(fmt.Sprintf("there is no user %s on this node: install the application that it belongs to, or make it with adduser --system %s", owner, owner))
	}
	g, err := user.LookupGroup(group)
	if err != nil {
		return Account{}, Problem(fmt.Sprintf("there is no group %s on this node: install the application that it belongs to, or make it with addgroup --system %s", group, group))
	}
	uid, uidErr := strconv.Atoi(u.Uid)
	gid, gidErr := strconv.Atoi(g.Gid)
	if err := errors.Join(uidErr, gidErr); err != nil {
		return Account{}, fmt.Errorf("look up %s:%s: %w", owner, group, err)
	}
	a := Account{UID: uid, GID: gid}
	ids, err := u.GroupIds()
	if err != nil {
		return Account{}, fmt.Errorf("look up the groups of %s: %w", owner, err)
	}
	for _, id := range ids {
		if n, err := strconv.Atoi(id); err == nil && n != gid {
			a.Groups = append(a.Groups, n)
		}
	}
	return a, nil
}

// Prepare makes a tree's root where the pair is new on this node, with the rights that a worker's unit does not have. What goes wrong is the
// worker's to tell.
func Prepare(c Config) error {
	s, err := readState(c.StateDir)
	if err != nil || s.Established(c.Path) {
		return err
	}
	if _, err := os.Lstat(c.Path); !errors.Is(err, fs.ErrNotExist) {
		return err
	}
	account, err := LookupAccount(c.Owner, c.Group)
	if err != nil {
		return err
	}
	if err := os.MkdirAll(filepath.Dir(c.Path), 0o755); err != nil {
		return err
	}
	if err := os.Mkdir(c.Path, 0o755); err != nil {
		return err
	}
	return os.Chown(c.Path, account.UID, account.GID)
}

// Forget takes back everything that a worker has made on its node, but nothing of the tree's data: the marker, the canaries and the state. It
// may be repeated. Like Prepare it has the rights that a worker has not.
func Forget(c Config) error {
	err := errors.Join(os.RemoveAll(filepath.Join(c.Path, Marker)), os.RemoveAll(filepath.Join(c.Path, CanaryDir)), os.RemoveAll(c.StateDir))
	_ = os.Remove(filepath.Dir(c.StateDir)) // where the last of all pairs has had its state
	return err
}

// tree is a pair's tree on this node.
type tree struct {
	cfg   Config
	state *state
}

// check returns a Problem unless the tree is there. A tree that is found for the first time is marked.
func (t *tree) check() error {
	info, err := os.Lstat(t.cfg.Path)
	switch {
	case errors.Is(err, fs.ErrNotExist):
		return t.gone("is missing")
	case err != nil:
		return Problem(fmt.Sprintf("tree %s cannot be looked at: %v", t.cfg.Path, err))
	case !info.IsDir():
		return Problem(fmt.Sprintf("tree %s is no directory: move away what is there", t.cfg.Path))
	}
	_, err = os.Lstat(filepath.Join(t.cfg.Path, Marker))
	switch {
	case err == nil:
		return t.state.establish(t.cfg.Path)
	case !errors.Is(err, fs.ErrNotExist):
		return Problem(fmt.Sprintf("tree %s cannot be looked at: %v", t.cfg.Path, err))
	case t.state.Established(t.cfg.Path):
		return t.gone("is not what it was: it has no directory " + Marker)
	}
	return t.mark()
}

func (t *tree) gone(what string) error {
	return Problem(fmt.Sprintf("tree %s %s, and nothing is taken from or given to %s: mount its file system or restore the tree; to go on with what is there, make the directory %s",
		t.cfg.Path, what, t.cfg.Peer, filepath.Join(t.cfg.Path, Marker)))
}

// mark leaves the marker, where nothing is in its place.
func (t *tree) mark() error {
	root, err := os.OpenRoot(t.cfg.Path)
	if err == nil {
		defer func() { _ = root.Close() }()
		err = root.Mkdir(Marker, 0o755)
	}
	if err == nil {
		err = root.WriteFile(Marker+"/README", fmt.Appendf(nil, "The directory above is kept equal with %s on %s (pair %s).\nDo not remove this one: it tells the tree from an empty mount point.\n",
			t.cfg.PeerPath, t.cfg.Peer, t.cfg.Pair), 0o444)
	}
	if err != nil {
		return Problem(fmt.Sprintf("tree %s cannot be written to: %v", t.cfg.Path, err))
	}
	return t.state.establish(t.cfg.Path)
}

// emptied returns a Problem when everything is gone since the tree was last in step: that may be a file system without its data as
// well as what somebody wanted.
func (t *tree) emptied() error {
	if !t.state.Filled(t.cfg.Path) {
		return nil
	}
	filled, err := t.filled()
	if err != nil || filled {
		return err
	}
	return Problem(fmt.Sprintf("tree %s is empty and was not when it was last synchronized; nothing is deleted on %s: restore it, or put one file into it to have everything else deleted there, too",
		t.cfg.Path, t.cfg.Peer))
}

// filled tells whether the tree has anything but what Atoll itself puts into it.
func (t *tree) filled() (bool, error) {
	dir, err := os.Open(t.cfg.Path)
	if err != nil {
		return false, Problem(fmt.Sprintf("tree %s cannot be read: %v", t.cfg.Path, err))
	}
	defer func() { _ = dir.Close() }()
	names, err := dir.Readdirnames(16)
	return slices.ContainsFunc(names, func(name string) bool { return !ours(name) }), ignoreEOF(err)
}

// ours tells whether a name in the tree's root is of what Atoll or the file system itself puts there.
func ours(name string) bool {
	return name == Marker || name == CanaryDir || name == "lost+found" || strings.HasPrefix(name, ".unison.")
}

// remember notes whether the tree has anything now that it is in step.
func (t *tree) remember() error {
	filled, err := t.filled()
	if err != nil {
		return err
	}
	return t.state.fill(t.cfg.Path, filled)
}
