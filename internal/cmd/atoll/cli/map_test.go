package cli_test

import (
	"encoding/json"
	"encoding/xml"
	"io"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/atollhq/terraform-provider-atoll/internal/api"
	"github.com/atollhq/terraform-provider-atoll/internal/clustermap"
	"github.com/atollhq/terraform-provider-atoll/internal/cmd/atoll/cli"
)

// demandSVG fails unless the text is well-formed XML with these words in it.
func demandSVG(t *testing.T, text string, words ...string) {
	t.Helper()
	decoder := xml.NewDecoder(strings.NewReader(text))
	for {
		_, err := decoder.Token()
		if err == io.EOF { //nolint:errorlint // Token returns this very value
			break
		}
		if err != nil {
			t.Fatalf("no XML: %v\n%s", err, text)
		}
	}
	for _, want := range append(words, "<svg ") {
		if !strings.Contains(text, want) {
			t.Errorf("the picture lacks %q:\n%s", want, text)
		}
	}
}

func TestMap(t *testing.T) {
	o := newOperator(t)
	key := o.withKey(t)
	endpoint, identity := (&agent{status: cut()}).serve(t, key, "hk1")
	write(t, "terraform.tfstate", stateWith(t, resource("atoll_node", node("hk1", endpoint, identity))))

	// A degraded cluster is drawn like any other.
	demandSVG(t, o.must(t, "map").stdout, "Cluster web is DEGRADED", "hk1 to sg1: via hk2 68.4 ms, 2 % lost", "sg1 to hk1: DOWN")
	if text := o.must(t, "map", "--format", "mermaid").stdout; !strings.HasPrefix(text, "flowchart LR\n") || !strings.Contains(text, "via hk2 68.4 ms") {
		t.Errorf("no flowchart of the cluster:\n%s", text)
	}
	var m clustermap.Map
	if err := json.Unmarshal([]byte(o.must(t, "map", "--format", "json").stdout), &m); err != nil {
		t.Fatal(err)
	}
	if len(m.Nodes) != 3 || len(m.Links) != 3 || m.Seen != "hk1" {
		t.Errorf("got %+v", m)
	}
}

// TestMapToFile writes maps over each other; the form follows from the name unless it is given.
func TestMapToFile(t *testing.T) {
	o := newOperator(t)
	key := o.withKey(t)
	endpoint, _ := (&agent{status: cluster("hk1")}).serve(t, key, "hk1")
	run := func(args ...string) result {
		t.Helper()
		return o.run(t, append([]string{"map", "--endpoint", endpoint, "--cluster", "web"}, args...)...)
	}
	write(t, "real.svg", "old")
	if err := os.Symlink("real.svg", "link.svg"); err != nil {
		t.Fatal(err)
	}
	for name, want := range map[string]string{"real.svg": "<svg", "link.svg": "<svg", "a.mmd": "flowchart LR", "a.json": `"nodes"`, "page.MERMAID": "flowchart LR"} {
		if r := run("--out", name); r.code != cli.Healthy || r.stdout != "" {
			t.Fatalf("%s: exit code %d, %q, %q", name, r.code, r.stdout, r.stderr)
		}
		got, err := os.ReadFile(name)
		if err != nil || !strings.Contains(string(got), want) {
			t.Errorf("%s lacks %q: %v\n%s", name, want, err, got)
		}
		if info, err := os.Stat(name); err != nil || info.Mode().Perm() != 0o644 {
			t.Errorf("%s has mode %v, %v: a web server has to read it", name, info.Mode(), err)
		}
	}
	if info, err := os.Lstat("link.svg"); err != nil || info.Mode()&os.ModeSymlink == 0 {
		t.Errorf("the link is gone: %v", err)
	}
	if r := run("--out", "a.txt", "--format", "json"); r.code != cli.Healthy {
		t.Errorf("exit code %d: %s", r.code, r.stderr)
	}
	for want, args := range map[string][]string{
		"add --format":          {"--out", "b.txt"},
		"write svg, mermaid or": {"--format", "png"},
		"no such file":          {"--out", "nowhere/a.svg"},
		"unknown command":       {"extra"},
	} {
		if r := run(args...); r.code != cli.Failed || !strings.Contains(r.stderr, want) {
			t.Errorf("%q: exit code %d, %q, want an error with %q", args, r.code, r.stderr, want)
		}
	}
	left, err := filepath.Glob(".atoll-map-*")
	if err != nil || len(left) > 0 {
		t.Errorf("left: %v, %v", left, err)
	}
}

// TestMapCannotTell keeps the old map when nobody answers.
func TestMapCannotTell(t *testing.T) {
	o := newOperator(t)
	o.withKey(t)
	write(t, "old.svg", "old")
	r := o.run(t, "map", "--endpoint", closedEndpoint(t), "--cluster", "web", "--out", "old.svg")
	got, err := os.ReadFile("old.svg")
	if r.code != cli.Failed || !strings.Contains(r.stderr, "no node of the cluster could be asked") || err != nil || string(got) != "old" {
		t.Errorf("exit code %d, %q, %q, %v", r.code, r.stderr, got, err)
	}
}

// TestMapOfTheLargestPart draws what most nodes see.
func TestMapOfTheLargestPart(t *testing.T) {
	o := newOperator(t)
	key := o.withKey(t)
	alone := cluster("hk2")
	alone.Nodes = map[string]api.NodeView{"hk2": alone.Nodes["hk2"]}
	alone.Links = nil
	small, _ := (&agent{status: alone}).serve(t, key, "hk2")
	large, _ := (&agent{status: cluster("hk1")}).serve(t, key, "hk1")
	r := o.must(t, "map", "--endpoint", small, "--endpoint", large, "--cluster", "web")
	demandSVG(t, r.stdout, "as hk1 sees it", "hk1 to sg1")
}
