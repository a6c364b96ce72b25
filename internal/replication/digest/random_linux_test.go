package digest_test

import (
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	"pgregory.net/rapid"

	"github.com/atollhq/terraform-provider-atoll/internal/replication/digest"
)

// TestRandomTrees plants random trees twice, wants them equal, changes one thing, and wants exactly that found: by a tree
// that trusts its cache as much as it ever may.
func TestRandomTrees(t *testing.T) {
	base, tries := t.TempDir(), 0
	o := all
	o.Now = func() time.Time { return time.Now().Add(time.Minute) }
	rapid.Check(t, func(t *rapid.T) {
		tries++
		dir := filepath.Join(base, strconv.Itoa(tries))
		defer os.RemoveAll(dir) //nolint:errcheck // the test's own directory is removed after it
		a, b := filepath.Join(dir, "a"), filepath.Join(dir, "b")
		names := rapid.SliceOfNDistinct(rapid.StringMatching(`([xyz\x80-\xff \n]{1,2}d/){0,3}[a-d\xc3\\"']{1,2}f`), 1, 15, func(s string) string { return s }).Draw(t, "names")
		slices.Sort(names)
		content := rapid.SampledFrom([]string{"", "1", "2", strings.Repeat("0", 300_000)})
		for _, name := range names {
			text, mode := content.Draw(t, "content"), rapid.SampledFrom([]os.FileMode{0o600, 0o644, 0o755}).Draw(t, "mode")
			for _, root := range []string{a, b} {
				path := root + "/" + name
				if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
					t.Fatal(err)
				}
				if err := os.WriteFile(path, []byte(text), mode); err != nil {
					t.Fatal(err)
				}
			}
		}
		here, there := digest.New(a, o), digest.New(b, o)
		digestOf := func(tree *digest.Tree) digest.Sum {
			s, err := tree.Digest(t.Context(), nil)
			if err != nil || s.ProblemCount > 0 {
				t.Fatalf("%v, problems %q", err, s.Problems)
			}
			return s.Sum
		}
		before := digestOf(there)
		if digestOf(here) != before {
			t.Fatal("two copies differ")
		}

		name := rapid.SampledFrom(names).Draw(t, "changed")
		path := a + "/" + name
		old, err := os.ReadFile(path)
		if err != nil {
			t.Fatal(err)
		}
		kind, at := digest.OtherContent, name
		switch rapid.SampledFrom([]string{"flip", "append", "chmod", "remove", "add", "link"}).Draw(t, "change") {
		case "flip":
			if len(old) == 0 {
				old = []byte("x")
			} else {
				old[rapid.IntRange(0, len(old)-1).Draw(t, "byte")] ^= 0x20
			}
			err = os.WriteFile(path, old, 0)
		case "append":
			err = os.WriteFile(path, append(old, 0), 0)
		case "chmod":
			kind, err = digest.OtherMetadata, os.Chmod(path, 0o640)
		case "remove":
			kind, err = digest.MissingHere, os.Remove(path)
		case "add":
			kind, at = digest.MissingThere, name+"+"
			err = os.WriteFile(path+"+", nil, 0o644)
		case "link":
			kind = digest.OtherType
			if err = os.Remove(path); err == nil {
				err = os.Symlink(string(old[:min(len(old), 9)])+"/", path)
			}
		}
		if err != nil {
			t.Fatal(err)
		}
		after := digestOf(here)
		if after == before || digestOf(digest.New(a, o)) != after {
			t.Fatalf("after %s: found %t, by the cache as without it %t", kind, after != before, digestOf(digest.New(a, o)) == after)
		}
		c, err := digest.Compare(t.Context(), here, there, digest.CompareOptions{})
		if err != nil {
			t.Fatal(err)
		}
		if len(c.Differences) != 1 || string(c.Differences[0].Path) != at || c.Differences[0].Kind != kind {
			t.Fatalf("differences %+v, want %s at %q", c.Differences, kind, at)
		}
	})
}
