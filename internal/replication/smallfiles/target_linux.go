package smallfiles

import (
	"bufio"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strings"

	"golang.org/x/sys/unix"
)

// TargetError is a directory that cannot be used.
type TargetError struct {
	Path string
	// Reason says why, and what to do.
	Reason string
}

// Error names the directory and the reason.
func (e *TargetError) Error() string { return fmt.Sprintf("directory %s: %s", e.Path, e.Reason) }

// RoomError is a file system with too little room.
type RoomError struct {
	Path string
	// What is "bytes" or "inodes".
	What       string
	Need, Free uint64
}

// Error says how much is missing.
func (e *RoomError) Error() string {
	return fmt.Sprintf("directory %s: its file system has %d %s free, and %d are needed to leave some for others: measure with fewer files", e.Path, e.Free, e.What, e.Need)
}

// target is a directory in which files are made.
type target struct {
	place Place
	// made tells that the directory itself is ours, work is where the files are, "" between rounds.
	made bool
	work string
}

// prefix begins the names of directories that this package makes.
const prefix = "atoll-bench-"

// openTarget looks at a directory. One that must be empty and is not there is made.
func openTarget(path string, empty bool) (*target, error) {
	path, err := filepath.Abs(path)
	if err != nil {
		return nil, err
	}
	t := &target{place: Place{Path: path}}
	entries, err := os.ReadDir(path)
	switch {
	case empty && errors.Is(err, fs.ErrNotExist):
		if err := os.Mkdir(path, 0o755); err != nil {
			return nil, fmt.Errorf("make the directory to measure: %w", err)
		}
		t.made = true
	case errors.Is(err, unix.ENOTDIR):
		return nil, &TargetError{path, "is no directory"}
	case err != nil:
		return nil, fmt.Errorf("look at the directory to measure: %w", err)
	}
	for _, e := range entries {
		switch {
		case !empty || e.Name() == "lost+found":
		case strings.HasPrefix(e.Name(), prefix):
			return nil, &TargetError{path, fmt.Sprintf("holds %s, which a run that was killed has left: remove it", e.Name())}
		default:
			return nil, &TargetError{path, "is not empty: name an empty directory, or a new one inside of it, so that nothing of yours is touched"}
		}
	}
	t.place.Filesystem, t.place.Source = mountOf(path)
	return t, nil
}

// begin makes the directory of a round.
func (t *target) begin() (dir string, err error) {
	if t.work, err = os.MkdirTemp(t.place.Path, prefix); err != nil {
		return "", fmt.Errorf("make a directory to measure in: %w", err)
	}
	// Whoever replicates the path must be able to read what is in it.
	if err := os.Chmod(t.work, 0o755); err != nil {
		return "", errors.Join(err, t.end())
	}
	return t.work, nil
}

// end removes what a round has left.
func (t *target) end() error {
	if t.work == "" {
		return nil
	}
	err := os.RemoveAll(t.work)
	if err != nil {
		err = fmt.Errorf("remove %s, which is left over: %w", t.work, err)
	}
	t.work = ""
	return err
}

// close removes what is left and was not there before.
func (t *target) close() error {
	err := t.end()
	if t.made {
		err = errors.Join(err, os.Remove(t.place.Path))
	}
	return err
}

// room fails when the tree would not fit, with a tenth more for what the file system itself needs, or would leave others
// less than a twentieth of the disk.
func (t *target) room(f *fixture) error {
	var st unix.Statfs_t
	if err := unix.Statfs(t.place.Path, &st); err != nil {
		return fmt.Errorf("look at the room in %s: %w", t.place.Path, err)
	}
	block := uint64(st.Bsize)
	// On average half a block is lost in each file.
	need := uint64(f.files)*(uint64(f.mean)+block/2)*11/10 + uint64(f.folders()+1)*block + st.Blocks/20*block
	if free := st.Bavail * block; free < need {
		return &RoomError{t.place.Path, "bytes", need, free}
	}
	// File systems without a table of inodes say that they have none.
	if need := uint64(f.files+2*f.folders()+10) + st.Files/20; st.Files > 0 && st.Ffree < need {
		return &RoomError{t.place.Path, "inodes", need, st.Ffree}
	}
	return nil
}

// plainDirectory finds a directory on the root file system in which files may be made.
func plainDirectory() (string, error) {
	var root, st unix.Stat_t
	if err := unix.Stat("/", &root); err != nil {
		return "", fmt.Errorf("look at the root file system: %w", err)
	}
	for _, dir := range []string{"/var/tmp", "/tmp", "/var/lib", "/"} {
		if unix.Stat(dir, &st) == nil && st.Dev == root.Dev && unix.Access(dir, unix.W_OK|unix.X_OK) == nil {
			return dir, nil
		}
	}
	return "", &TargetError{"/", "nothing can be written on the root file system: name a directory of a plain file system to compare with"}
}

// mountOf returns type and source of the file system that holds an existing path, as proc(5) describes mountinfo; both
// are "unknown" where /proc does not tell.
func mountOf(path string) (filesystem, source string) {
	filesystem, source = "unknown", "unknown"
	if resolved, err := filepath.EvalSymlinks(path); err == nil {
		path = resolved
	}
	file, err := os.Open("/proc/self/mountinfo")
	if err != nil {
		return filesystem, source
	}
	defer file.Close() //nolint:errcheck // nothing was written
	longest := -1
	lines := bufio.NewScanner(file)
	for lines.Scan() {
		fields := strings.Fields(lines.Text())
		for i := 6; i+2 < len(fields); i++ {
			if fields[i] != "-" {
				continue
			}
			point := strings.NewReplacer(`\040`, " ", `\011`, "\t", `\012`, "\n", `\134`, `\`).Replace(fields[4])
			// A later mount on the same point hides the one before.
			if (path == point || point == "/" || strings.HasPrefix(path, point+"/")) && len(point) >= longest {
				longest, filesystem, source = len(point), fields[i+1], fields[i+2]
			}
			break
		}
	}
	return filesystem, source
}

// syncAll returns when the disk has everything of the file system that dir is in.
func syncAll(dir string) (err error) {
	f, err := os.Open(dir)
	if err != nil {
		return err
	}
	defer f.Close() //nolint:errcheck // nothing was written
	if err := unix.Syncfs(int(f.Fd())); err != nil {
		return fmt.Errorf("wait for the disk: %w", err)
	}
	return nil
}

// syncOne returns when the disk has a directory's names.
func syncOne(dir string) error {
	f, err := os.Open(dir)
	if err != nil {
		return err
	}
	defer f.Close() //nolint:errcheck // nothing was written
	// Not every file system can: FUSE says so with EINVAL.
	if err := f.Sync(); err != nil && !errors.Is(err, unix.EINVAL) {
		return err
	}
	return nil
}

// dropCaches empties the page cache and those of names and inodes, see Documentation/admin-guide/sysctl/vm.rst.
func dropCaches() error {
	return os.WriteFile("/proc/sys/vm/drop_caches", []byte("3"), 0)
}
