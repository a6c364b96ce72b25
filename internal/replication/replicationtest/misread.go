//go:build linux

package replicationtest

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strconv"
	"testing"
	"time"

	"github.com/atollhq/terraform-provider-atoll/internal/lab/await"
)

// errNotRead is why writtenWhileRead waits.
var errNotRead = errors.New("no program has opened it")

// writtenWhileRead changes the beginning of a file while a program reads the rest of it, and gives it its date back, as whatever unpacks or copies
// files with their dates does: neither date nor length tell that what was read is old.
func (r *run) writtenWhileRead(t *testing.T) {
	for _, s := range r.sides() {
		dated := time.Now().Add(-time.Hour)
		name, f := r.beingRead(t, s, dated)
		file := s.file(name)
		defer func() { _ = f.Close() }()
		if _, err := f.WriteAt([]byte("changed"), 0); err != nil {
			t.Fatal(err)
		}
		if err := os.Chtimes(file, dated, dated); err != nil {
			t.Fatal(err)
		}
		await.NoError(t, r.other(s).Name+" has what was written last", long, func(context.Context) error {
			var begin [7]byte
			got, err := os.Open(r.other(s).file(name))
			if err != nil {
				return err
			}
			defer func() { _ = got.Close() }()
			if _, err := got.Read(begin[:]); err != nil || string(begin[:]) != "changed" {
				return errors.Join(err, errors.New("it begins with "+strconv.Quote(string(begin[:]))))
			}
			return nil
		})
		if err := os.Remove(file); err != nil {
			t.Fatal(err)
		}
	}
	r.awaitSynced(t, long)
}

// beingRead makes a file that the program reads now. It may be too fast for whoever looks for that: then there is another one.
func (r *run) beingRead(t *testing.T, s *side, dated time.Time) (name string, f *os.File) {
	t.Helper()
	const size = 256 << 20
	for i := range 20 {
		name := fmt.Sprintf("written while read on %s %d", s.Name, i)
		file := s.file(name)
		f, err := os.OpenFile(file+".tmp", os.O_CREATE|os.O_WRONLY, 0o644) // excluded until it is whole
		if err != nil {
			t.Fatal(err)
		}
		if err := errors.Join(f.Truncate(size), f.Chown(owner, owner), os.Chtimes(file+".tmp", dated, dated), os.Rename(file+".tmp", file)); err != nil {
			t.Fatal(err)
		}
		deadline, cancel := context.WithTimeout(t.Context(), long)
		defer cancel()
		for missed := false; !missed && deadline.Err() == nil; {
			if isRead(t, file) {
				return name, f
			}
			_, err := os.Lstat(r.other(s).file(name))
			missed = err == nil
		}
		if err := errors.Join(f.Close(), os.Remove(file)); err != nil {
			t.Fatal(err)
		}
		r.awaitSynced(t, long)
	}
	t.Fatal(errNotRead)
	return "", nil
}

// isRead tells whether another process than this one has a file open.
func isRead(t *testing.T, file string) bool {
	t.Helper()
	is, err := os.Stat(file)
	if err != nil {
		t.Fatal(err)
	}
	open, err := filepath.Glob("/proc/[0-9]*/fd/*")
	if err != nil {
		t.Fatal(err)
	}
	own := "/proc/" + strconv.Itoa(os.Getpid()) + "/"
	for _, fd := range open {
		if len(fd) > len(own) && fd[:len(own)] == own {
			continue
		}
		if info, err := os.Stat(fd); err == nil && os.SameFile(is, info) {
			return true
		}
	}
	return false
}
