package worker_test

import (
	"errors"
	"math"
	"os"
	"path/filepath"
	"syscall"
	"testing"

	"github.com/atollhq/terraform-provider-atoll/internal/replication/worker"
)

// TestGiveDirectory has somebody put something else in the place of a directory that is Atoll's: it is given to nobody, nor is what it leads to.
func TestGiveDirectory(t *testing.T) {
	t.Parallel()
	if os.Geteuid() != 0 {
		t.Skip("NOT RUN: only root gives files away")
	}
	account := worker.Account{UID: 33, GID: 33}
	for name, test := range map[string]struct {
		make  func(path, secret string) error
		given bool
	}{
		"a directory":              {func(path, _ string) error { return os.Mkdir(path, 0o755) }, true},
		"a directory of another's": {func(path, _ string) error { return errors.Join(os.Mkdir(path, 0o755), os.Chown(path, 34, 34)) }, true},
		"a file":                   {func(path, _ string) error { return os.WriteFile(path, nil, 0o600) }, false},
		"another name of a file":   {func(path, secret string) error { return os.Link(secret, path) }, false},
		"a FIFO":                   {func(path, _ string) error { return syscall.Mkfifo(path, 0o600) }, false},
		"a link to a directory":    {func(path, _ string) error { return os.Symlink("secrets", path) }, false},
		"a link that leads outside": {func(path, secret string) error {
			return os.Symlink(filepath.Dir(filepath.Dir(secret)), path)
		}, false},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			tree := t.TempDir()
			path, secret := filepath.Join(tree, worker.CanaryDir), filepath.Join(tree, "secrets", "secret")
			mustDo(t, os.Mkdir(filepath.Dir(secret), 0o700), os.WriteFile(secret, nil, 0o600), test.make(path, secret))
			before, err := os.Lstat(path)
			mustDo(t, err)
			if err := worker.GiveDirectory(tree, worker.CanaryDir, account); (err == nil) != test.given {
				t.Errorf("it is given: %v", err)
			}
			after, err := os.Lstat(path)
			mustDo(t, err)
			want := owner(before)
			if test.given {
				want = uint32(account.UID)
			}
			if got := owner(after); got != want {
				t.Errorf("it belongs to %d, want %d", got, want)
			}
			for _, other := range []string{secret, filepath.Dir(secret), tree} {
				info, err := os.Stat(other)
				mustDo(t, err)
				if owner(info) != 0 {
					t.Errorf("%s belongs to %d", other, owner(info))
				}
			}
		})
	}
}

// owner returns who has a file, by number; nobody where that is not known.
func owner(info os.FileInfo) uint32 {
	if stat, ok := info.Sys().(*syscall.Stat_t); ok {
		return stat.Uid
	}
	return math.MaxUint32
}
