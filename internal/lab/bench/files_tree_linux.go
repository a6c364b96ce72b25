package main

import (
	"bytes"
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"math/rand/v2"
	"os"
	"path/filepath"
	"runtime"
	"strconv"
	"strings"
	"sync"
	"syscall"
	"time"

	"github.com/atollhq/terraform-provider-atoll/internal/lab/nodes"
	"github.com/atollhq/terraform-provider-atoll/internal/lab/rig"
)

// filesHost is one of the two machines. Whoever measures sees its files without a part of what keeps them: by its first process.
type filesHost struct {
	name  string
	run   func(ctx context.Context, argv ...string) (string, error)
	pid   func() (int, error)
	usage func() (nodes.Usage, error)
}

// path is where a path of the machine is for who measures.
func (h filesHost) path(path string) (string, error) {
	pid, err := h.pid()
	if err != nil {
		return "", err
	}
	return "/proc/" + strconv.Itoa(pid) + "/root" + path, nil
}

// tree is where the tree is for who measures.
func (h filesHost) tree() (string, error) { return h.path(rig.PairPath) }

// treeFolder is the folder of a file of the tree: a hundred files each, a hundred folders in a folder.
func treeFolder(i int) string { return fmt.Sprintf("%02d/%02d", i/10_000, i/100%100) }

// treeName is the path of a file of the tree.
func treeName(i int) string { return fmt.Sprintf("%s/%d.dat", treeFolder(i), i) }

// makeTree makes a tree that belongs to an account.
func makeTree(ctx context.Context, root string, files, size, owner int) error {
	if err := os.MkdirAll(root, 0o755); err != nil { //nolint:gosec // as web servers have it
		return err
	}
	for i := 0; i < files; i += 100 {
		if err := os.MkdirAll(filepath.Join(root, treeFolder(i)), 0o755); err != nil { //nolint:gosec // the same
			return err
		}
	}
	if err := inParts(ctx, files, func(i int) error {
		return writeFile(filepath.Join(root, treeName(i)), os.O_CREATE|os.O_EXCL, strconv.Itoa(i)+"\n", size, owner)
	}); err != nil {
		return fmt.Errorf("make the tree: %w", err)
	}
	return filepath.WalkDir(root, func(path string, d fs.DirEntry, err error) error {
		if err != nil || !d.IsDir() {
			return err
		}
		return os.Lchown(path, owner, owner)
	})
}

// inParts does something for each number, on all CPUs.
func inParts(ctx context.Context, n int, do func(i int) error) error {
	parts := runtime.NumCPU()
	errs := make([]error, parts)
	var done sync.WaitGroup
	for p := range parts {
		done.Go(func() {
			for i := p; i < n && errs[p] == nil; i += parts {
				if errs[p] = ctx.Err(); errs[p] == nil {
					errs[p] = do(i)
				}
			}
		})
	}
	done.Wait()
	return errors.Join(errs...)
}

// writeFile writes a text and, up to the size, what does not compress. The file belongs to owner unless that is below 0.
func writeFile(path string, how int, text string, size, owner int) (err error) {
	f, err := os.OpenFile(path, os.O_WRONLY|how, 0o644) //nolint:gosec // as web servers have it
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, f.Close()) }()
	data := make([]byte, max(size, len(text)))
	copy(data, text)
	for rest := data[len(text):]; len(rest) > 0; rest = rest[min(8, len(rest)):] {
		var word [8]byte
		binary.LittleEndian.PutUint64(word[:], rand.Uint64()) //nolint:gosec // it need not be secret
		copy(rest, word[:])
	}
	if owner >= 0 {
		if err := f.Chown(owner, owner); err != nil {
			return err
		}
	}
	_, err = f.Write(data)
	return err
}

// begins tells whether a file is there in full and begins with a text.
func begins(path, text string, size int) bool {
	f, err := os.Open(path) //nolint:gosec // a path of our own
	if err != nil {
		return false
	}
	defer func() { _ = f.Close() }()
	head := make([]byte, len(text))
	if _, err := io.ReadFull(f, head); err != nil || string(head) != text {
		return false
	}
	info, err := f.Stat()
	return err == nil && info.Size() == int64(size)
}

// walkTree visits the files of a tree, without what tools keep beside them under hidden names. Those that go while it looks are left out.
func walkTree(root string, visit func(name string, d fs.DirEntry) error) error {
	return walkAll(root, func(path string, d fs.DirEntry) error {
		if d.IsDir() {
			return nil
		}
		name, err := filepath.Rel(root, path)
		if err != nil {
			return err
		}
		return visit(name, d)
	})
}

// walkAll visits directories, too, and gives whole paths.
func walkAll(root string, visit func(path string, d fs.DirEntry) error) error {
	return filepath.WalkDir(root, func(path string, d fs.DirEntry, err error) error {
		switch {
		case errors.Is(err, fs.ErrNotExist):
			return nil
		case err != nil:
			return err
		case path == root:
			return nil
		case strings.HasPrefix(d.Name(), "."):
			if d.IsDir() {
				return fs.SkipDir
			}
			return nil
		}
		return visit(path, d)
	})
}

// countTree counts the files of a tree that have their size, and tells when the last change of any of them, or of a directory, was: the kernel's date, which
// nobody sets. A tree that is not there has none.
func countTree(root string, size int) (n int, last time.Time, err error) {
	err = walkAll(root, func(_ string, d fs.DirEntry) error {
		info, err := d.Info()
		if err != nil {
			return nil //nolint:nilerr // it was renamed meanwhile
		}
		if stat, ok := info.Sys().(*syscall.Stat_t); ok {
			if changed := time.Unix(stat.Ctim.Unix()); changed.After(last) {
				last = changed
			}
		}
		if !d.IsDir() && info.Size() == int64(size) {
			n++
		}
		return nil
	})
	return n, last, err
}

// errDiffer means that two trees are not the same.
var errDiffer = errors.New("the trees differ")

// sameTrees compares two trees byte by byte.
func sameTrees(ctx context.Context, one, other string) error {
	var names []string
	there := map[string]bool{}
	for _, root := range []string{one, other} {
		if err := walkTree(root, func(name string, _ fs.DirEntry) error {
			if root == one {
				there[name] = true
				names = append(names, name)
			} else if !there[name] {
				return fmt.Errorf("%w: %q is on one side only", errDiffer, name)
			}
			return nil
		}); err != nil {
			return err
		}
	}
	return inParts(ctx, len(names), func(i int) error {
		a, err := os.ReadFile(filepath.Join(one, names[i]))
		if err != nil {
			return err
		}
		b, err := os.ReadFile(filepath.Join(other, names[i]))
		if err == nil && !bytes.Equal(a, b) {
			err = fmt.Errorf("%w: the contents of %q", errDiffer, names[i])
		}
		return err
	})
}
