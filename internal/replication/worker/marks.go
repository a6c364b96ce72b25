package worker

import (
	"errors"
	"io/fs"
	"os"
	"syscall"
)

const (
	// markerMode and markMode are the rights to the marker and to what is in it: nobody but the worker writes there.
	markerMode fs.FileMode = 0o755
	markMode   fs.FileMode = 0o444
	// replacedMode is that to what was in the tree before it was put back to a snapshot, which nobody else is to reach.
	replacedMode fs.FileMode = 0o700
)

// keepMarks makes the marker what it was when somebody has changed the owner or the rights of everything in the tree, as "chown -R" does. That
// the tree's account can write there would let the program succeed in what has to fail (Config.PaceFile).
func (t *tree) keepMarks() error {
	root, err := OpenTree(t.cfg.Path)
	if err != nil {
		return err
	}
	defer func() { _ = root.Close() }()
	problems := []error{keep(root, Marker, markerMode), keep(root, replacedDir, replacedMode), t.keepPace(root)}
	for _, file := range []string{Marker + "/README", t.cfg.idFile(), t.cfg.PaceFile()} {
		problems = append(problems, keep(root, file, markMode))
	}
	return errors.Join(problems...)
}

// keepPace has the file that sets the pace on the node that leads, and there alone.
func (t *tree) keepPace(root *os.Root) error {
	file := t.cfg.PaceFile()
	_, err := root.Lstat(file)
	switch {
	case err == nil && !t.cfg.Leads:
		return root.Remove(file)
	case errors.Is(err, fs.ErrNotExist) && t.cfg.Leads:
		f, err := root.OpenFile(file, os.O_WRONLY|os.O_CREATE|os.O_EXCL, markMode)
		if err != nil {
			return err
		}
		return f.Close()
	case errors.Is(err, fs.ErrNotExist):
		return nil
	}
	return err
}

// keep gives a file or directory back to this process, with a mode. Others, and what is not there, are left alone.
func keep(root *os.Root, name string, mode fs.FileMode) error {
	info, err := root.Lstat(name)
	if errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	if err != nil {
		return err
	}
	stat, ok := info.Sys().(*syscall.Stat_t)
	if !ok || !info.Mode().IsRegular() && !info.IsDir() {
		return nil
	}
	uid, gid := os.Geteuid(), os.Getegid()
	if stat.Uid != uint32(uid) || stat.Gid != uint32(gid) {
		if err := root.Lchown(name, uid, gid); err != nil {
			return err
		}
	}
	if info.Mode().Perm() != mode {
		return root.Chmod(name, mode)
	}
	return nil
}
