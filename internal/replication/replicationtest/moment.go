//go:build linux

package replicationtest

import (
	"bytes"
	"context"
	"fmt"
	"os"
	"path/filepath"
	"regexp"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/atollhq/terraform-provider-atoll/internal/lab/await"
)

// moment has an application replace a file in the moment between a program's look at it and what the program does to it.
func (r *run) moment(t *testing.T) {
	for _, s := range r.sides() {
		for _, what := range []string{"replaced", "removed", "made"} {
			dir := what + " on " + s.Name
			file := dir + "/f"
			r.lead.write(t, dir+"/other", "other")
			want := []string{"of the application", "of the other side", "other"}
			if what != "made" {
				r.lead.write(t, file, "old")
			}
			r.awaitSynced(t, long)
			held := holdUp(t, r.programOf(t, s), filepath.Join(s.path, file))
			if what == "removed" {
				want = []string{"of the application", "other"}
				if err := os.Remove(r.other(s).file(file)); err != nil {
					t.Fatal(err)
				}
			} else {
				r.other(s).write(t, file, "of the other side")
			}
			held.await(t)
			s.write(t, dir+"/next.tmp", "of the application")
			if err := os.Rename(s.file(dir+"/next.tmp"), s.file(file)); err != nil {
				t.Fatal(err)
			}
			held.release(t)
			await.NoError(t, "both versions are on both sides", long, func(context.Context) error {
				for _, s := range r.sides() {
					if diff := cmp.Diff(want, versions(t, s, dir)); diff != "" {
						return fmt.Errorf("%s, on %s (-want +got):\n%s", dir, s.Name, diff)
					}
				}
				return nil
			})
			r.awaitSynced(t, long) // nothing is put there any more
			r.lead.Run(t, `rm -r "$1"`, filepath.Join(r.lead.path, dir))
			r.awaitSynced(t, long)
		}
	}
}

// programOf finds the process of a side's program, as this process knows it.
func (r *run) programOf(t *testing.T, s *side) int {
	t.Helper()
	name := regexp.MustCompile(r.Program)
	tree, err := os.Stat(s.file(""))
	if err != nil {
		t.Fatal(err)
	}
	names, err := filepath.Glob("/proc/[0-9]*/comm")
	if err != nil {
		t.Fatal(err)
	}
	for _, file := range names {
		comm, err := os.ReadFile(file)
		if err != nil || !name.Match(bytes.TrimSpace(comm)) {
			continue
		}
		if its, err := os.Stat(filepath.Join(filepath.Dir(file), "root", s.path)); err == nil && os.SameFile(its, tree) {
			pid := 0
			if _, err := fmt.Sscanf(file, "/proc/%d/", &pid); err != nil {
				t.Fatal(err)
			}
			return pid
		}
	}
	t.Fatalf("no program runs on %s", s.Name)
	return 0
}
