//go:build linux

package replicationtest

import (
	"fmt"
	"os"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/atollhq/terraform-provider-atoll/internal/lab/await"
)

// fromEnv is a number of the environment, for runs that take longer or need more room than a machine with other things to do has.
func fromEnv(t *testing.T, variable string, otherwise int) int {
	t.Helper()
	text := os.Getenv(variable)
	if text == "" {
		return otherwise
	}
	n, err := strconv.Atoi(text)
	if err != nil {
		t.Fatalf("%s: %v", variable, err)
	}
	return n
}

// renames moves files and directories about, faster than they are carried over, while the other side writes into them.
func (r *run) renames(t *testing.T) {
	const files = 200
	for _, s := range r.sides() {
		other := r.other(s)
		dir := "storm of " + s.Name
		s.Run(t, `mkdir -p "$1/$2/a" "$1/$2/b"; cd "$1/$2"; for i in $(seq "$3"); do echo $i >a/$i; done; chown -R www-data:www-data .`, s.path, dir, fmt.Sprint(files))
		r.awaitSynced(t, long)
		s.Run(t, `cd "$1/$2"
for round in 1 2 3 4 5; do
	for i in $(seq "$3"); do mv a/$i b/$i.$round; mv b/$i.$round a/$i; done
	mv a c; mv b a; mv c b
	for i in $(seq "$3"); do mv b/$i a/$i; done
	mv a d; mv d a
done
for i in $(seq 1 2 "$3"); do mv a/$i x; mv a/$((i + 1)) a/$i; mv x a/$((i + 1)); done`, s.path, dir, fmt.Sprint(files))
		other.write(t, dir+"/by the other", "1")
		r.awaitSynced(t, 2*long)
		for _, side := range r.sides() {
			// Two by two they have changed places.
			want := strings.TrimSpace(side.Run(t, `for i in $(seq "$1"); do [ $((i % 2)) = 0 ] && echo $((i - 1)) || echo $((i + 1)); done`, fmt.Sprint(files)))
			got := strings.TrimSpace(side.Run(t, `cd "$1/$2/a"; for i in $(seq "$3"); do cat $i; done`, side.path, dir, fmt.Sprint(files)))
			if diff := cmp.Diff(want, got); diff != "" {
				t.Errorf("%s (-want +got):\n%s", side.Name, diff)
			}
		}
		s.Run(t, `rm -r "$1/$2"`, s.path, dir)
		r.awaitSynced(t, long)
	}
}

// large carries a large file with holes over, whose transfer is interrupted; the other side has it in full, so that it is not so large here that
// it fills a disk: ATOLL_TEST_LARGE_MIB makes it larger.
func (r *run) large(t *testing.T) {
	size := fromEnv(t, "ATOLL_TEST_LARGE_MIB", 96)
	for _, s := range r.sides() {
		other := r.other(s)
		s.Run(t, `cd "$1"; truncate -s "$2"M large; for at in 0 $(($2 / 2)) $(($2 - 1)); do head -c 100000 /dev/urandom | dd of=large bs=1M seek=$at conv=notrunc status=none; done; chown www-data:www-data large`, s.path, fmt.Sprint(size))
		sum := s.Run(t, `sha256sum <"$1/large"`, s.path)
		await.True(t, "it is under way", long, func() bool {
			return other.Run(t, `ls -A "$1" | grep 'large' || true`, other.path) != ""
		})
		other.Run(t, `pkill -KILL "$1" || true`, r.Program)
		r.awaitSynced(t, 5*long)
		if got := other.Run(t, `sha256sum <"$1/large"`, other.path); got != sum {
			t.Errorf("%s has another file: %s, want %s", other.Name, got, sum)
		}
		if left := other.Run(t, `find "$1" -name '.unison*' -not -path "*/.atoll-canary/*/.unison.$2.unison.tmp"`, other.path, other.Name); left != "" {
			t.Errorf("%s has left %q", other.Name, left)
		}
		other.Run(t, `rm "$1/large"`, other.path)
		r.awaitSynced(t, long)
	}
}

// clock has what a node writes whose clock is five minutes wrong: the dates of its files. Machines that share a kernel have one clock; nothing
// else of a pair goes by that of another node.
func (r *run) clock(t *testing.T) {
	for i, off := range []string{"+5 minutes", "-5 minutes"} {
		for _, s := range r.sides() {
			other := r.other(s)
			file := fmt.Sprintf("clock/%s %d", s.Name, i)
			wrong := func(content string) {
				// Content and date come as one: that a date changes here and the content there would be a conflict.
				s.write(t, file+".tmp", content)
				s.Run(t, `touch -d "$2" "$1.tmp"; mv "$1.tmp" "$1"`, s.path+"/"+file, off)
			}
			wrong("1")
			await.NoError(t, "what was written by a wrong clock is there", long, has(other, file, "1"))
			r.awaitSynced(t, long) // what is written in the moment in which something has come is given another date later on
			other.write(t, file, "2, by the right clock")
			await.NoError(t, "what was written by a right clock is there", long, has(s, file, "2, by the right clock"))
			wrong("3, by the wrong clock")
			await.NoError(t, "what was written by a wrong clock is there", long, has(other, file, "3, by the wrong clock"))
			r.awaitSynced(t, long)
			r.apart(t, func() {
				wrong("4, by the wrong clock")
				other.write(t, file, "4, by the right clock")
			})
			r.awaitSynced(t, long)
			leads := "4, by the right clock"
			if s == r.lead {
				leads = "4, by the wrong clock"
			}
			for _, side := range r.sides() {
				if diff := cmp.Diff([]string{"4, by the right clock", "4, by the wrong clock"}, versions(t, side, "clock")); diff != "" {
					t.Errorf("%s lost a version (-want +got):\n%s", side.Name, diff)
				}
				if got := side.read(file); got != leads {
					t.Errorf("%s: the name has %q, want the leader's", side.Name, got)
				}
			}
			r.lead.Run(t, `rm -r "$1/clock"`, r.lead.path)
			r.awaitSynced(t, long)
		}
	}
}

// many writes more files at once than there is room for in the queues: ATOLL_TEST_MANY_FILES makes it the 100,000 of a minute.
func (r *run) many(t *testing.T) {
	files := fromEnv(t, "ATOLL_TEST_MANY_FILES", 5000)
	began := time.Now()
	r.lead.Run(t, `mkdir "$1/many"; cd "$1/many"; d=0; while [ $d -lt "$2" ]; do
	mkdir $d; i=0; while [ $i -lt 1000 ]; do echo "$d $i" >$d/$i; i=$((i + 1)); done; d=$((d + 1000)); done; chown -R www-data:www-data .`, r.lead.path, fmt.Sprint(files))
	wrote := time.Since(began)
	await.True(t, "all files are there", 10*long, func() bool {
		return r.back.Run(t, `find "$1/many" -type f | wc -l`, r.back.path) == fmt.Sprintln(files)
	})
	t.Logf("%d files, written in %s, are there after %s", files, wrote.Round(time.Millisecond), time.Since(began).Round(time.Millisecond))
	r.awaitSynced(t, 5*long)
	r.back.Run(t, `rm -r "$1/many"`, r.back.path)
	r.awaitSynced(t, 10*long)
}
