//go:build linux

package replicationtest

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"golang.org/x/sys/unix"

	"github.com/atollhq/terraform-provider-atoll/internal/lab/await"
)

// knowledgeOnce counts how often a side writes down what it knows, which takes the longer the more files there are: once for each change, also where nothing
// was known when the programs started.
func (r *run) knowledgeOnce(t *testing.T) {
	for _, s := range r.sides() {
		if err := s.Sys.Units().Stop(t.Context(), r.Unit(pairName)); err != nil {
			t.Fatal(err)
		}
		s.Run(t, `rm `+r.Knowledge(pairName))
		r.apply(t, s)
	}
	r.awaitSynced(t, long)
	const changes = 6
	change := func(i int) {
		path := fmt.Sprintf("once/%d", i)
		r.lead.replace(t, path, "1") // which is one event
		await.NoError(t, "a change arrives", long, has(r.back, path, "1"))
		r.awaitSynced(t, long)
	}
	change(0) // the programs may have started once more until now
	written := r.lead.replaced(t, r.Knowledge(pairName))
	for i := range changes {
		change(i + 1)
	}
	most := changes * 3 / 2
	if r.back.status(t.Context(), t).Watching != "fanotify" {
		most += changes // nobody knows there that what arrives is no change of its own
	}
	if n := written(); n < 1 || n > most {
		t.Errorf("%d changes: what the side knows was written down %d times", changes, n)
	}
	r.lead.Run(t, `rm -r "$1/once"`, r.lead.path)
	r.awaitSynced(t, long)
}

// replaced counts from now on how often files of a pattern, which has one star at its end, are made.
func (s *side) replaced(t *testing.T, pattern string) (count func() int) {
	t.Helper()
	fd, err := unix.InotifyInit1(unix.IN_CLOEXEC | unix.IN_NONBLOCK)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = unix.Close(fd) })
	if _, err := unix.InotifyAddWatch(fd, filepath.Join(s.Root, filepath.Dir(pattern)), unix.IN_CREATE|unix.IN_MOVED_TO); err != nil {
		t.Fatal(&os.PathError{Op: "inotify_add_watch", Path: pattern, Err: err})
	}
	prefix := strings.TrimSuffix(filepath.Base(pattern), "*")
	return func() int {
		t.Helper()
		n, buffer := 0, make([]byte, 1<<16)
		for {
			size, err := unix.Read(fd, buffer)
			if errors.Is(err, unix.EAGAIN) {
				return n
			}
			if err != nil {
				t.Fatal(err)
			}
			for event := buffer[:size]; len(event) >= unix.SizeofInotifyEvent; {
				name := event[unix.SizeofInotifyEvent:][:event[12]] // the length's lowest byte, which is enough for such names
				if strings.HasPrefix(string(name), prefix) {
					n++
				}
				event = event[unix.SizeofInotifyEvent+len(name):]
			}
		}
	}
}
