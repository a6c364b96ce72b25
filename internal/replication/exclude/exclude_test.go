package exclude_test

import (
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"pgregory.net/rapid"

	"github.com/atollhq/terraform-provider-atoll/internal/replication/exclude"
)

// cases are patterns with paths that they match and paths that they do not.
var cases = []struct {
	pattern  string
	yes, not []string
}{
	{"*.tmp", []string{"a.tmp", ".tmp", ".hidden.tmp", "d/a.tmp", "d/e/a.tmp"}, []string{"a.tmp2", "tmp", "a.tmp/x", "A.TMP"}},
	{"?at", []string{"cat", ".at", "d/hat"}, []string{"at", "chat", "d/at"}},
	{"a?b", []string{"a-b", "a\nb", "a\xffb"}, []string{"a/b", "ab"}},
	{".*.sw[a-p]", []string{".x.swp", "d/.x.swa"}, []string{"x.swp", ".x.swz", ".x.sw"}},
	{"[!a-c]x", []string{"dx", "-x", "]x", ".x", "\xc3x"}, []string{"ax", "x", "d/bx"}},
	{"[]x-]y", []string{"]y", "xy", "-y"}, []string{"zy", "[y"}},
	{"[^][^-]y", []string{"ay", "xy"}, []string{"]y", "[y", "^y", "-y"}},
	{"[[^ -]z", []string{"[z", "^z", " z", "-z"}, []string{"az", "]z"}},
	{`\*\?\[a\]\\`, []string{`*?[a]\`, `d/*?[a]\`}, []string{`x?[a]\`, `*?[a]`}},
	{`\!keep`, []string{"!keep"}, []string{"keep"}},
	{"#*#", []string{"#x#", "##"}, []string{"#x"}},
	{"a+(b)|{c}$^.", []string{"a+(b)|{c}$^."}, []string{"aa(b)|{c}$^.", "a+(b)|{c}$^x"}},
	{" lead and trail ", []string{" lead and trail "}, []string{"lead and trail"}},
	{"a->b", []string{"a->b"}, []string{"a", "b", "a-b"}},
	{"[;->]q", []string{"<q", ">q", ";q"}, []string{"-q", "?q"}},
	{"café*", []string{"café", "d/café au lait"}, []string{"cafe"}},
	{"/lost+found", []string{"lost+found"}, []string{"d/lost+found", "lost+found2", "lost+found/x"}},
	{"cache/**", []string{"cache/a", "cache/a/b", "cache/.x"}, []string{"cache", "d/cache/a", "cache2/a"}},
	{"data/*/cache", []string{"data/u/cache", "data/.u/cache"}, []string{"data/cache", "data/u/v/cache", "data/u/cache/x"}},
	{"a/**/b", []string{"a/b", "a/x/b", "a/x/y/b"}, []string{"ab", "a/xb", "b", "x/a/b", "a/b/c"}},
	{"**/build/out", []string{"build/out", "x/build/out", "x/y/build/out"}, []string{"out", "xbuild/out", "build/x/out"}},
	{"**/tmp/**", []string{"tmp/a", "x/tmp/a/b"}, []string{"tmp", "x/tmp", "xtmp/a"}},
	{"a/*", []string{"a/b", "a/.b"}, []string{"a", "a/b/c"}},
	{"a/**/**/b", []string{"a/b", "a/x/b"}, []string{"ab"}},
	{"*a*a*b", []string{"aab", "xaxaxaab", "aaab"}, []string{"ab", "aaba", "a/ab"}},
}

func parse(t testing.TB, patterns ...string) *exclude.Set {
	t.Helper()
	set, err := exclude.Parse(patterns)
	if err != nil {
		t.Fatal(err)
	}
	return set
}

func TestMatch(t *testing.T) {
	for _, c := range cases {
		set := parse(t, c.pattern)
		for _, path := range c.yes {
			if !set.Match(path) {
				t.Errorf("%q does not match %q", c.pattern, path)
			}
		}
		for _, path := range append(c.not, "") {
			if set.Match(path) {
				t.Errorf("%q matches %q", c.pattern, path)
			}
		}
	}
}

func TestRefused(t *testing.T) {
	for pattern, why := range map[string]string{
		"": "empty", "!x": "takes nothing back", "dir/": "/**", "a//b": "two slashes", "./a": "no parts", "a/../b": "no parts",
		"a**b": "stands alone", `a\`: "none", "[ab": "needs its", "[é]": "ASCII", "[[:alpha:]]": "[a-zA-Z]", "[z-a]": "lower",
		"a\nb": "control", "*": "all of the tree", "**": "all of the tree", "/*": "all of the tree", "**/*": "all of the tree", "/": "slash",
	} {
		_, err := exclude.Parse([]string{"ok", pattern})
		var wrong *exclude.PatternError
		if !errors.As(err, &wrong) || wrong.Pattern != pattern || !strings.Contains(err.Error(), why) {
			t.Errorf("%q: %v, want a PatternError with %q", pattern, err, why)
		}
	}
}

func TestCovers(t *testing.T) {
	set := parse(t, "cache", "/a/b")
	for path, want := range map[string]bool{"cache/x/y": true, "x/cache/y": true, "a/b/c": true, "a/b": true, "a": false, "x/a/b": false, "cached/x": false, "": false} {
		if got := set.Covers(path); got != want {
			t.Errorf("Covers(%q) = %t", path, got)
		}
	}
	var none *exclude.Set
	if none.Match("x") || none.Covers("x/y") || none.Patterns() != nil || none.Regexps() != nil {
		t.Error("the nil set excludes something")
	}
}

func TestWith(t *testing.T) {
	set := parse(t, "a")
	more, err := set.With("b")
	if err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff([]string{"a", "b"}, more.Patterns()); diff != "" {
		t.Error(diff)
	}
	if set.Match("b") || !more.Match("b") {
		t.Error("With changed the set that it began with, or nothing")
	}
	if _, err := set.With("!"); err == nil {
		t.Error("With takes what is no pattern")
	}
}

func TestDefaults(t *testing.T) {
	set := parse(t, exclude.Defaults()...)
	for _, path := range []string{"d/upload.part", ".x.txt.swp", "x~", "d/.nfs000123", "lost+found", "Thumbs.db", ".#x"} {
		if !set.Match(path) {
			t.Errorf("%q is no temporary file by default", path)
		}
	}
	for _, path := range []string{"photo.jpg", "d/lost+found", "party", "template", ".htaccess", "index.php", "swap.sw"} {
		if set.Match(path) {
			t.Errorf("%q is a temporary file by default", path)
		}
	}
}

// TestRegexps compares patterns with their regular expressions by Go's engine, which knows the common subset, too, but
// reads runes: both are made of ASCII here.
func TestRegexps(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		piece := rapid.OneOf(rapid.StringMatching(`[ab.*?-]{1,4}`), rapid.SampledFrom([]string{"**", "[ab]", "[!a-]x", "[a-b.]*", `\*`, "[]-]", "a b"}))
		text := strings.Join(rapid.SliceOfN(piece, 1, 4).Draw(t, "pattern"), "/")
		set, err := exclude.Parse([]string{text})
		if err != nil {
			t.Skip(err)
		}
		re := regexp.MustCompile(`^(?s:` + set.Regexps()[0] + `)$`)
		for _, path := range rapid.SliceOfN(rapid.StringMatching(`[ab.*\]-]{1,3}(/[ab. -]{1,3}){0,4}`), 1, 30).Draw(t, "paths") {
			if got, want := re.MatchString(path), set.Match(path); got != want {
				t.Fatalf("%q: %s matches %q: %t, the pattern: %t", text, re, path, got, want)
			}
		}
	})
}

// TestUnison lets the real unison copy a tree with one pattern at a time and looks at what has stayed.
func TestUnison(t *testing.T) {
	unison, err := exec.LookPath("unison")
	if err != nil {
		t.Skip("NOT CHECKED AGAINST UNISON: there is no unison on this machine")
	}
	for i, c := range cases {
		t.Run(fmt.Sprintf("%d", i), func(t *testing.T) {
			dir := t.TempDir()
			set := parse(t, c.pattern)
			var files []string
			for _, path := range append(slices.Clone(c.yes), c.not...) {
				full := filepath.Join(dir, "from", path)
				if err := os.MkdirAll(filepath.Dir(full), 0o700); err != nil {
					continue // another case's path is a file there
				}
				if os.WriteFile(full, nil, 0o600) == nil {
					files = append(files, path)
				}
			}
			if err := os.MkdirAll(filepath.Join(dir, "to"), 0o700); err != nil {
				t.Fatal(err)
			}
			profile := "root = " + dir + "/from\nroot = " + dir + "/to\nbatch = true\nunicode = false\nignore = Regex " + set.Regexps()[0] + "\n"
			home := filepath.Join(dir, "home")
			if err := os.MkdirAll(home, 0o700); err != nil {
				t.Fatal(err)
			}
			if err := os.WriteFile(filepath.Join(home, "p.prf"), []byte(profile), 0o600); err != nil {
				t.Fatal(err)
			}
			cmd := exec.CommandContext(t.Context(), unison, "p", "-ui", "text")
			cmd.Env = append(os.Environ(), "UNISON="+home, "HOME="+home, "LC_ALL=C.UTF-8")
			if out, err := cmd.CombinedOutput(); err != nil {
				t.Fatalf("unison with %q: %v\n%s", set.Regexps()[0], err, out)
			}
			for _, path := range files {
				_, err := os.Lstat(filepath.Join(dir, "to", path))
				if stays := set.Covers(path); stays != (err != nil) {
					t.Errorf("%q as %q: unison leaves %q out: %t, the pattern: %t", c.pattern, set.Regexps()[0], path, err != nil, stays)
				}
			}
		})
	}
}

func BenchmarkMatch(b *testing.B) {
	set := parse(b, exclude.Defaults()...)
	for b.Loop() {
		if set.Match("data/user/files/2026/11/21/IMG_20261121_120000.jpg") {
			b.Fatal("matches")
		}
	}
}
