package watch

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path"
	"strconv"
	"strings"

	"golang.org/x/sys/unix"
)

// Raise raises the kernel's limit of inotify watches to Watches where a tree, which need not be there yet, has to be watched directory by
// directory, until the machine starts again. It lowers nothing. It takes the right to set the machine's sysctls.
func Raise(tree string) error {
	for {
		_, _, err := unix.NameToHandleAt(unix.AT_FDCWD, tree, 0)
		if errors.Is(err, fs.ErrNotExist) && tree != "/" {
			tree = path.Dir(tree)
			continue
		}
		if err == nil {
			return nil
		}
		return raise(limitFile)
	}
}

func raise(file string) error {
	text, err := os.ReadFile(file)
	if err != nil {
		return err
	}
	limit, err := strconv.Atoi(strings.TrimSpace(string(text)))
	if err != nil || limit >= Watches {
		return err
	}
	if err := os.WriteFile(file, strconv.AppendInt(nil, Watches, 10), 0o600); err != nil {
		return fmt.Errorf("raise %s from %d: %w", Sysctl, limit, err)
	}
	return nil
}
