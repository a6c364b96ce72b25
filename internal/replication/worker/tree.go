package worker

import (
	"crypto/rand"
	"errors"
	"fmt"
	"io/fs"
	"log/slog"
	"os"
	"os/user"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"sync"
	"syscall"
	"time"

	"github.com/atollhq/terraform-provider-atoll/internal/replication/cold"
	"github.com/atollhq/terraform-provider-atoll/internal/replication/exclude"
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
	return errors.Join(prepareTree(c), prepareSnapshots(c))
}

func prepareTree(c Config) error {
	if err := prepareCold(c); err != nil {
		return err
	}
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
	return makeTree(c.Path, account)
}

// prepareCold makes the cold root of a tree that has none yet.
func prepareCold(c Config) error {
	if c.Cold == nil {
		return nil
	}
	if at, err := os.Readlink(filepath.Join(c.Path, cold.RootLink)); err == nil && at == c.Cold.Root {
		return nil
	}
	if _, err := os.Lstat(c.Cold.Root); !errors.Is(err, fs.ErrNotExist) {
		return err
	}
	account, err := LookupAccount(c.Owner, c.Group)
	if err != nil {
		return err
	}
	return makeTree(c.Cold.Root, account)
}

// Forget takes back everything that a worker has made on its node, but nothing of the tree's data: the marker, the canaries and the state. It
// may be repeated. Like Prepare it has the rights that a worker has not. Unfinished tells which paths are of files that the pair's program has
// not completed: these go, too.
func Forget(c Config, unfinished func(path string) bool) error {
	left := sweeping{tree: c.Path, temporary: unfinished, resumes: func(int64) bool { return false }, log: slog.New(slog.DiscardHandler)}
	_, err := left.sweep(time.Now())
	if errors.Is(err, fs.ErrNotExist) || errors.Is(err, errNoDirectory) {
		err = nil
	}
	err = errors.Join(err, forgetMarker(c), os.RemoveAll(c.StateDir))
	forgetSnapshots(c)
	if c.Cold != nil {
		err = errors.Join(err, cold.Release(c.Cold.Root))
	}
	_ = os.Remove(filepath.Dir(c.StateDir)) // where the last of all pairs has had its state
	return err
}

// forgetMarker removes a pair's marks from its tree, all of them unless another pair has the same tree.
func forgetMarker(c Config) error {
	root, err := OpenTree(c.Path)
	if errors.Is(err, fs.ErrNotExist) || errors.Is(err, errNoDirectory) {
		return nil
	}
	if err != nil {
		return err
	}
	defer func() { _ = root.Close() }()
	err = root.RemoveAll(c.Canaries())
	for _, file := range []string{c.idFile(), c.PaceFile()} {
		if removeErr := root.Remove(file); !errors.Is(removeErr, fs.ErrNotExist) {
			err = errors.Join(err, removeErr)
		}
	}
	if err != nil {
		return err
	}
	for _, suffix := range []string{idSuffix, paceSuffix} {
		if others, err := fs.Glob(root.FS(), Marker+"/*"+suffix); err != nil || len(others) > 0 {
			return err
		}
	}
	if kept, err := fs.Glob(root.FS(), replacedDir+"/*/*"); err != nil || len(kept) > 0 {
		return errors.Join(err, root.RemoveAll(CanaryDir)) // what users wrote is there: it stays
	}
	return errors.Join(root.RemoveAll(Marker), root.RemoveAll(CanaryDir))
}

// tree is a pair's tree on this node.
type tree struct {
	cfg   Config
	state *state

	mu sync.Mutex
	// begun is the id of the tree that is synchronized, "" while none is.
	begun string
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
	if err := t.mounted(); err != nil {
		return err
	}
	t.mu.Lock()
	defer t.mu.Unlock()
	_, err = os.Lstat(filepath.Join(t.cfg.Path, Marker))
	switch {
	case err == nil:
		if err := t.recognize(); err != nil {
			return err
		}
		_ = t.keepMarks() // it works without, less well
		return nil
	case !errors.Is(err, fs.ErrNotExist):
		return Problem(fmt.Sprintf("tree %s cannot be looked at: %v", t.cfg.Path, err))
	case t.state.Established(t.cfg.Path):
		return t.gone("is not what it was: it has no directory " + Marker)
	}
	return t.mark()
}

// mounted returns a Problem while a file system is mounted below the tree. As long as none ever is when the tree is synchronized, nothing can
// be missing there because it is not mounted.
func (t *tree) mounted() error {
	below, err := mounts(t.cfg.Path)
	if err != nil {
		return Problem(fmt.Sprintf("it cannot be seen what is mounted below tree %s: %v", t.cfg.Path, err))
	}
	if len(below) == 0 {
		return nil
	}
	stays, err := exclude.Parse(append(Exclude(), t.cfg.Exclude...))
	if err != nil {
		return Problem(err.Error())
	}
	for _, path := range below {
		if !stays.Covers(path) {
			return Problem(fmt.Sprintf("%s is another file system, mounted inside of tree %s, and nothing is taken from or given to %s: whenever it is not mounted its files would look as if they were deleted; mount it elsewhere and make a pair of it, or exclude %q",
				filepath.Join(t.cfg.Path, path), t.cfg.Path, t.cfg.Peer, "/"+path))
		}
	}
	return nil
}

func (t *tree) gone(what string) error {
	return Problem(fmt.Sprintf("tree %s %s, and nothing is taken from or given to %s: mount its file system or restore the tree; to begin anew with what is there, make the directory %s: what only one side has is then on both, and nothing is deleted",
		t.cfg.Path, what, t.cfg.Peer, filepath.Join(t.cfg.Path, Marker)))
}

// mark leaves the marker, where nothing is in its place.
func (t *tree) mark() error {
	root, err := OpenTree(t.cfg.Path)
	if err == nil {
		defer func() { _ = root.Close() }()
		err = root.Mkdir(Marker, markerMode)
	}
	if err == nil {
		err = root.WriteFile(Marker+"/README", fmt.Appendf(nil, "The directory above is kept equal with %s on %s (pair %s).\nDo not remove this one: it tells the tree from an empty mount point.\n",
			t.cfg.PeerPath, t.cfg.Peer, t.cfg.Pair), markMode)
	}
	if err != nil {
		return t.unwritable(err)
	}
	return t.recognize()
}

// idFile holds, in the marker, what tells this tree from an earlier copy of it: a disk that was restored from a backup is not what was
// synchronized, and what is missing there was not deleted. Each pair of a tree has one.
func (c Config) idFile() string { return Marker + "/" + c.Pair + idSuffix }

// PaceFile is a file that the side that leads has in its marker, and that its engine has to fail to bring to the other side: it is what keeps
// an engine going that goes on at once while there is something left to do.
func (c Config) PaceFile() string { return Marker + "/" + c.Pair + paceSuffix }

const (
	idSuffix   = ".id"
	paceSuffix = ".pace"
)

const (
	// renewInterval is how often the id is made anew: a backup that is older is recognized as one. When both sides were found equal since, it is
	// as soon as renewSynced.
	renewInterval = time.Hour
	renewSynced   = time.Minute
)

// recognize makes sure that the tree is the one that is known. Another one is begun with, unless one is being synchronized.
func (t *tree) recognize() error {
	root, err := OpenTree(t.cfg.Path)
	if err != nil {
		return Problem(fmt.Sprintf("tree %s cannot be looked at: %v", t.cfg.Path, err))
	}
	defer func() { _ = root.Close() }()
	id, err := root.ReadFile(t.cfg.idFile())
	switch {
	case err != nil && !errors.Is(err, fs.ErrNotExist):
		return Problem(fmt.Sprintf("tree %s cannot be looked at: %v", t.cfg.Path, err))
	case t.state.known(t.cfg.Path, string(id)):
		return nil
	case t.begun != "":
		return Problem(fmt.Sprintf("tree %s is another one than was synchronized: it is begun with anew", t.cfg.Path))
	}
	fresh := rand.Text()
	if err := t.state.establish(t.cfg.Path, fresh); err != nil {
		return err
	}
	if err := t.write(root, fresh); err != nil {
		return t.unwritable(err)
	}
	return nil
}

// write puts an id into the marker.
func (t *tree) write(root *os.Root, id string) error {
	file := t.cfg.idFile()
	f, err := root.OpenFile(file+".new", os.O_WRONLY|os.O_CREATE|os.O_TRUNC, markMode)
	if err != nil {
		return err
	}
	_, err = f.WriteString(id)
	// It outlasts a loss of power, or the tree would not be known afterwards.
	if err := errors.Join(err, f.Sync(), f.Close()); err != nil {
		return err
	}
	if err := root.Rename(file+".new", file); err != nil {
		return err
	}
	marker, err := root.Open(Marker)
	if err != nil {
		return err
	}
	return errors.Join(marker.Sync(), marker.Close())
}

func (t *tree) unwritable(err error) error {
	return Problem(fmt.Sprintf("tree %s cannot be written to: %v", t.cfg.Path, err))
}

// renew gives the tree another id, at the begin of a synchronization and now and then. It does not matter where it is interrupted. Where there
// is no room for it the tree keeps the one that it has.
func (t *tree) renew() error {
	t.mu.Lock()
	defer t.mu.Unlock()
	root, err := OpenTree(t.cfg.Path)
	if err != nil {
		return err
	}
	defer func() { _ = root.Close() }()
	// Never over the id of a tree that has come in place of the one that is known.
	if err := t.recognize(); err != nil {
		return err
	}
	id := rand.Text()
	if err := t.state.renew(id, false); err != nil {
		return err
	}
	t.begun = id
	switch err := t.write(root, id); {
	case errors.Is(err, syscall.ENOSPC) || errors.Is(err, syscall.EDQUOT):
		return nil
	case err != nil:
		return t.unwritable(err)
	}
	return t.state.renew(id, true)
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
	return Problem(fmt.Sprintf("tree %[1]s is empty and was not when it was last synchronized; nothing is deleted on %[2]s: restore it; or remove the file %[3]s to have it filled from there; or put one file into it to have everything else deleted there, too",
		t.cfg.Path, t.cfg.Peer, filepath.Join(t.cfg.Path, t.cfg.idFile())))
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
	return name == Marker || name == CanaryDir || name == cold.Dir || name == "lost+found" || strings.HasPrefix(name, ".unison.")
}

// remember notes whether the tree has anything now that it is in step.
func (t *tree) remember() error {
	filled, err := t.filled()
	if err != nil {
		return err
	}
	return t.state.fill(t.cfg.Path, filled)
}
