package loadbalancer_test

import (
	"regexp"
	"strings"
	"testing"

	"pgregory.net/rapid"

	"github.com/atollhq/terraform-provider-atoll/internal/provider/loadbalancer"
)

// TestNames demands that the names of pools are what Cloudflare takes, and that no two pools of an account share one.
func TestNames(t *testing.T) {
	t.Parallel()
	allowed := regexp.MustCompile(`^[A-Za-z0-9_-]+$`)
	label := `[a-z0-9]([a-z0-9-]{0,20}[a-z0-9])?`
	hostnames := rapid.StringMatching(label + `(\.` + label + `){1,8}`)
	sites := rapid.OneOf(rapid.StringMatching(`[a-z][a-z0-9-]{0,30}`), rapid.StringN(1, 40, 60))
	names, marks := map[string]string{}, map[string]string{}
	rapid.Check(t, func(t *rapid.T) {
		hostname, site := hostnames.Draw(t, "hostname"), sites.Draw(t, "site")
		id := hostname + "/" + site
		name, mark := loadbalancer.PoolName(hostname, site), loadbalancer.Mark(hostname, site)
		if !allowed.MatchString(name) || len(name) > 100 {
			t.Errorf("name %q of %q is none", name, id)
		}
		if len(mark) > 100 {
			t.Errorf("mark %q has %d characters", mark, len(mark))
		}
		for what, seen := range map[string]map[string]string{name: names, mark: marks} {
			if other, taken := seen[what]; taken && other != id {
				t.Errorf("%q and %q are both %q", other, id, what)
			}
			seen[what] = id
		}
		if part, ours := loadbalancer.Marked(hostname, mark); len(id) < 80 && (!ours || part != site) {
			t.Errorf("mark %q of %q was read as %q, %v", mark, site, part, ours)
		}
	})
	if got, want := loadbalancer.PoolName("www.example.com", "hong-kong"), "www_example_com__hong-kong"; got != want {
		t.Errorf("got name %q, want %q", got, want)
	}
	if got, want := loadbalancer.Mark("www.example.com", ""), "atoll:www.example.com"; got != want {
		t.Errorf("got mark %q, want %q", got, want)
	}
}

// TestMarked takes nothing for its own that is another hostname's or nobody's.
func TestMarked(t *testing.T) {
	t.Parallel()
	for _, other := range []string{"", "www.example.com", "atoll:www.example.com.example.net", "atoll:example.com/www", "atoll:www.example.comx/hong-kong"} {
		if _, ours := loadbalancer.Marked("www.example.com", other); ours {
			t.Errorf("%q was taken for ours", other)
		}
	}
	long := strings.Repeat("a", 60) + "." + strings.Repeat("b", 60) + ".example.com"
	if _, ours := loadbalancer.Marked(long, loadbalancer.Mark(long, "")); !ours {
		t.Error("the mark of a long hostname is not known again")
	}
}
