package digest_test

import (
	"bytes"
	"cmp"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	gocmp "github.com/google/go-cmp/cmp"
	"pgregory.net/rapid"

	"github.com/atollhq/terraform-provider-atoll/internal/replication/digest"
)

// fake is a tree in memory: directories by path, as a Lister has them.
type fake struct {
	dirs  map[string]digest.Directory
	mu    sync.Mutex
	asked []string
}

func (f *fake) Directory(_ context.Context, path string) (digest.Directory, error) {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.asked = append(f.asked, path)
	d, ok := f.dirs[path]
	if !ok {
		return digest.Directory{}, fmt.Errorf("directory %q: %w", path, fs.ErrNotExist)
	}
	// As over the network.
	text, err := json.Marshal(d)
	if err != nil {
		return digest.Directory{}, err
	}
	var copied digest.Directory
	return copied, json.Unmarshal(text, &copied)
}

var epoch = time.Date(2026, 1, 2, 3, 4, 5, 0, time.UTC)

// leaf describes a file of a fake tree: content, and hours after the epoch.
type leaf struct {
	content string
	meta    byte
	hours   int
	link    bool
	problem bool
}

// build makes a fake tree of files by path.
func build(files map[string]leaf) *fake {
	f := &fake{dirs: map[string]digest.Directory{}}
	var dir func(prefix string) (digest.Sum, digest.Totals)
	dir = func(prefix string) (digest.Sum, digest.Totals) {
		children := map[string]digest.Entry{}
		for path, l := range files {
			rest, in := strings.CutPrefix(path, prefix)
			if !in {
				continue
			}
			name, below, deeper := strings.Cut(rest, "/")
			e := digest.Entry{Name: []byte(name), Kind: digest.File, Modified: epoch.Add(time.Duration(l.hours) * time.Hour)}
			switch {
			case deeper && (children[name].Kind != "" || name == ""):
				continue
			case deeper:
				e.Kind, e.Modified = digest.Folder, epoch
				e.Content, e.Totals = dir(prefix + name + "/")
				_ = below
			default:
				copy(e.Content[:], l.content)
				e.Meta[0], e.Totals = l.meta, digest.Totals{Files: 1, Bytes: int64(len(l.content))}
				if l.link {
					e.Kind, e.Totals.Bytes = digest.Symlink, 0
				}
				if l.problem {
					e.Problem = &digest.Problem{Kind: digest.Unreadable, Message: "permission denied"}
				}
			}
			if name != "" {
				children[name] = e
			}
		}
		d := digest.Directory{}
		for _, e := range children {
			d.Entries = append(d.Entries, e)
			d.Totals.Files += e.Totals.Files
			d.Totals.Bytes += e.Totals.Bytes
			d.Totals.Directories += e.Totals.Directories
			if e.Kind == digest.Folder {
				d.Totals.Directories++
			}
		}
		slices.SortFunc(d.Entries, func(a, b digest.Entry) int { return bytes.Compare(a.Name, b.Name) })
		d.Sum = sumOf(d.Entries)
		f.dirs[strings.TrimSuffix(prefix, "/")] = d
		return d.Sum, d.Totals
	}
	dir("")
	return f
}

// sumOf is any sum that differs when entries do.
func sumOf(entries []digest.Entry) (s digest.Sum) {
	text, _ := json.Marshal(entries)
	for i, c := range text {
		s[i%len(s)] = s[i%len(s)]*31 + c
	}
	return s
}

func TestCompare(t *testing.T) {
	here := map[string]leaf{
		"same": {content: "1"}, "only here": {content: "22"}, "newer here": {content: "333", hours: 2}, "newer there": {content: "4"},
		"one time": {content: "55"}, "mode": {content: "6", meta: 1}, "kind": {content: "7"}, "closed": {problem: true},
		"d/same/x": {content: "8"}, "d/deep/er/x": {content: "9"}, "whole/a/b": {content: "1"}, "whole/c": {content: "2"},
		"link": {content: "a", link: true},
	}
	there := map[string]leaf{
		"same": {content: "1"}, "only there": {content: "22222"}, "newer here": {content: "33"}, "newer there": {content: "444", hours: 1},
		"one time": {content: "5"}, "mode": {content: "6", meta: 2}, "kind/x": {content: "77", hours: 1}, "closed": {content: "x"},
		"d/same/x": {content: "8"}, "d/deep/er/x": {content: "99", hours: 1}, "link": {content: "b", link: true},
	}
	a, b := build(here), build(there)
	got, err := digest.Compare(t.Context(), a, b, digest.CompareOptions{Parallel: 2})
	if err != nil {
		t.Fatal(err)
	}
	var lines []string
	for _, d := range got.Differences {
		lines = append(lines, fmt.Sprintf("%s: %s %+v %s", d.Path, d.Kind, d.Totals, d.Message))
	}
	want := []string{
		"closed: not read {Files:1 Directories:0 Bytes:0} here: permission denied",
		"kind: type {Files:1 Directories:1 Bytes:2} ",
		"link: content {Files:1 Directories:0 Bytes:0} ",
		"mode: metadata {Files:1 Directories:0 Bytes:0} ",
		"newer here: content {Files:1 Directories:0 Bytes:3} ",
		"newer there: content {Files:1 Directories:0 Bytes:3} ",
		"one time: content {Files:1 Directories:0 Bytes:2} ",
		"only here: missing there {Files:1 Directories:0 Bytes:2} ",
		"only there: missing here {Files:1 Directories:0 Bytes:5} ",
		"whole: missing there {Files:2 Directories:2 Bytes:2} ",
		"d/deep/er/x: content {Files:1 Directories:0 Bytes:2} ",
	}
	if diff := gocmp.Diff(want, lines); diff != "" {
		t.Error(diff)
	}
	if want := (digest.Totals{Files: 8, Directories: 1, Bytes: 13}); got.BehindHere != want {
		t.Errorf("behind here %+v, want %+v", got.BehindHere, want)
	}
	if want := (digest.Totals{Files: 9, Directories: 2, Bytes: 10}); got.BehindThere != want {
		t.Errorf("behind there %+v, want %+v", got.BehindThere, want)
	}
	if slices.Contains(a.asked, "d/same") || slices.Contains(a.asked, "whole") {
		t.Errorf("asked for directories that are equal, or missing on the other side: %q", a.asked)
	}
	if got.Equal || got.Truncated || got.Here.Files != 13 || got.There.Files != 11 {
		t.Errorf("%+v", got)
	}

	limited, err := digest.Compare(t.Context(), a, b, digest.CompareOptions{Limit: 3})
	if err != nil || !limited.Truncated || len(limited.Differences) != 3 || limited.Equal {
		t.Errorf("with a limit of 3: %+v, %v", limited, err)
	}
	exact, err := digest.Compare(t.Context(), a, b, digest.CompareOptions{Limit: len(want)})
	if err != nil || exact.Truncated || len(exact.Differences) != len(want) {
		t.Errorf("with a limit that is just not reached: truncated %t, %v", exact.Truncated, err)
	}
}

func TestCompareChanging(t *testing.T) {
	a, b := build(map[string]leaf{"d/x": {content: "1"}, "e/x": {content: "1"}}), build(map[string]leaf{"d/x": {content: "2"}, "e/x": {content: "2"}})
	// One directory went away and one became equal since the digests were made.
	delete(b.dirs, "d")
	a.dirs["e"] = b.dirs["e"]
	got, err := digest.Compare(t.Context(), a, b, digest.CompareOptions{})
	if err != nil {
		t.Fatal(err)
	}
	for _, d := range got.Differences {
		if d.Kind != digest.Changed {
			t.Errorf("%q: %s", d.Path, d.Kind)
		}
	}
	if len(got.Differences) != 2 || got.Equal {
		t.Errorf("%+v", got)
	}
}

func TestCompareErrors(t *testing.T) {
	a := build(map[string]leaf{"d/x": {content: "1"}})
	cut := errors.New("connection lost")
	b := build(map[string]leaf{"d/x": {content: "2"}})
	broken := digest.ListerFunc(func(ctx context.Context, path string) (digest.Directory, error) {
		if path == "d" {
			return digest.Directory{}, cut
		}
		return b.Directory(ctx, path)
	})
	if _, err := digest.Compare(t.Context(), a, broken, digest.CompareOptions{}); !errors.Is(err, cut) || !strings.Contains(err.Error(), `"d" there`) {
		t.Errorf("got %v", err)
	}
	if _, err := digest.Compare(t.Context(), a, &fake{}, digest.CompareOptions{}); !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("a root that is gone: %v", err)
	}
}

// TestCompareFinds compares random trees with what a look at each path says.
func TestCompareFinds(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		paths := rapid.SliceOfDistinct(rapid.StringMatching(`[ab]/[abc]/[a-f]|[cd]/[a-f]|[ef]`), func(s string) string { return s })
		draw := func(name string) map[string]leaf {
			files := map[string]leaf{}
			for _, path := range paths.Draw(t, name) {
				files[path] = leaf{content: rapid.SampledFrom([]string{"1", "2", "33"}).Draw(t, path)}
			}
			return files
		}
		here, there := draw("here"), draw("there")
		for path, l := range here {
			if rapid.Bool().Draw(t, "copied") {
				there[path] = l
			}
		}
		got, err := digest.Compare(t.Context(), build(here), build(there), digest.CompareOptions{})
		if err != nil {
			t.Fatal(err)
		}
		var missingHere, missingThere, other int64
		for path, l := range here {
			if r, ok := there[path]; !ok {
				missingThere++
			} else if r != l {
				other++
			}
		}
		for path := range there {
			if _, ok := here[path]; !ok {
				missingHere++
			}
		}
		var found [3]int64
		for _, d := range got.Differences {
			switch d.Kind {
			case digest.MissingHere:
				found[0] += d.Totals.Files
			case digest.MissingThere:
				found[1] += d.Totals.Files
			case digest.OtherContent:
				found[2]++
			default:
				t.Fatalf("%q: %s", d.Path, d.Kind)
			}
		}
		if want := [3]int64{missingHere, missingThere, other}; found != want {
			t.Fatalf("missing here, there, other content: %v, want %v", found, want)
		}
		if got.Equal != (missingHere+missingThere+other == 0) {
			t.Fatalf("equal: %t", got.Equal)
		}
		if got.BehindHere.Files != missingHere+other || got.BehindThere.Files != missingThere+other {
			t.Fatalf("behind %+v %+v", got.BehindHere, got.BehindThere)
		}
	})
}

func TestSumText(t *testing.T) {
	var s, back digest.Sum
	s[0], s[31] = 1, 0xff
	text, err := s.MarshalText()
	if err != nil || len(text) != 43 {
		t.Fatalf("%q, %v", text, err)
	}
	if err := back.UnmarshalText(text); err != nil || cmp.Compare(back.String(), s.String()) != 0 {
		t.Errorf("%v, %v", back, err)
	}
	for _, wrong := range []string{"", "x", strings.Repeat("*", 43), strings.Repeat("A", 44)} {
		if back.UnmarshalText([]byte(wrong)) == nil {
			t.Errorf("%q is a sum", wrong)
		}
	}
}
