package worker

import (
	"errors"
	"os"

	"golang.org/x/sys/unix"
)

// syncFileSystem has everything on the file system of a directory be on its disk (syncfs(2)).
func syncFileSystem(directory string) error {
	root, err := OpenTree(directory)
	if err != nil {
		return err
	}
	f, err := root.Open(".")
	if err != nil {
		return errors.Join(err, root.Close())
	}
	if err := unix.Syncfs(int(f.Fd())); err != nil {
		err = &os.PathError{Op: "syncfs", Path: directory, Err: err}
		return errors.Join(err, f.Close(), root.Close())
	}
	return errors.Join(f.Close(), root.Close())
}
