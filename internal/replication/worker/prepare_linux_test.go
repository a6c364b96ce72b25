package worker_test

import (
	"os"
	"os/user"
	"path/filepath"
	"strconv"
	"syscall"
	"testing"

	"github.com/atollhq/terraform-provider-atoll/internal/replication/worker"
)

// TestPrepare makes a tree for an account, and nothing where a link leads elsewhere.
func TestPrepare(t *testing.T) {
	if os.Getuid() != 0 {
		t.Skip("NOT RUN: only root may give a directory to an account")
	}
	account, err := user.Lookup("www-data")
	mustDo(t, err)
	group, err := user.LookupGroup("www-data")
	mustDo(t, err)
	root, elsewhere := t.TempDir(), t.TempDir()
	mustDo(t, os.Symlink(elsewhere, filepath.Join(root, "link")))
	for name, made := range map[string]bool{"tree": true, "a/b/tree": true, "link/tree": false, "link": true} {
		c := worker.Config{Pair: "uploads", Path: filepath.Join(root, name), Owner: "www-data", Group: "www-data", StateDir: t.TempDir()}
		if err := worker.Prepare(c); (err == nil) != made {
			t.Errorf("%s: %v", name, err)
		}
		info, err := os.Lstat(c.Path)
		if name == "link" || !made {
			continue
		}
		mustDo(t, err)
		if stat := info.Sys().(*syscall.Stat_t); account.Uid != strconv.FormatUint(uint64(stat.Uid), 10) || group.Gid != strconv.FormatUint(uint64(stat.Gid), 10) || !info.IsDir() { //nolint:forcetypeassert // it is Linux
			t.Errorf("%s: is %s of %d:%d", name, info.Mode(), stat.Uid, stat.Gid)
		}
	}
	left, err := os.ReadDir(elsewhere)
	mustDo(t, err)
	stat, err := os.Stat(elsewhere)
	mustDo(t, err)
	if len(left) != 0 || stat.Sys().(*syscall.Stat_t).Uid != 0 { //nolint:forcetypeassert // it is Linux
		t.Errorf("behind the link: %v", left)
	}
}
