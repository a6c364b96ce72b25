// Package internal_test keeps the shape of the tree: who may import whom, and what every package and file owes its
// readers.
package internal_test

import (
	"bytes"
	"encoding/json"
	"errors"
	"io"
	"io/fs"
	"os"
	"os/exec"
	"path"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"sync"
	"testing"
)

const module = "github.com/atollhq/terraform-provider-atoll"

// goPackage is what `go list` says of one package, its tests left out.
type goPackage struct {
	ImportPath, Name, Dir, Doc string
	Standard                   bool
	Imports, Deps              []string
	GoFiles                    []string
}

// ours is the path below the module, "" for the module's root.
func (p goPackage) ours() string {
	return strings.TrimPrefix(strings.TrimPrefix(p.ImportPath, module), "/")
}

// tree lists every package of the module and every package that one of them depends on, once.
var tree = sync.OnceValues(func() (map[string]goPackage, error) {
	list := exec.Command("go", "list", "-deps", "-json=ImportPath,Name,Dir,Doc,Standard,Imports,Deps,GoFiles", "./...") //nolint:noctx // bounded by go test's own timeout
	list.Dir = ".."
	// Without cgo no package of the standard library depends on anything else.
	list.Env = append(os.Environ(), "CGO_ENABLED=0", "GOOS=linux")
	var stderr bytes.Buffer
	list.Stderr = &stderr
	out, err := list.Output()
	if err != nil {
		return nil, errors.New("go list: " + err.Error() + "\n" + stderr.String())
	}
	all := map[string]goPackage{}
	for dec := json.NewDecoder(bytes.NewReader(out)); ; {
		var p goPackage
		if err := dec.Decode(&p); errors.Is(err, io.EOF) {
			return all, nil
		} else if err != nil {
			return nil, err
		}
		all[p.ImportPath] = p
	}
})

// packages returns the module's own packages and everything that go list printed.
func packages(t *testing.T) (own []goPackage, all map[string]goPackage) {
	t.Helper()
	all, err := tree()
	if err != nil {
		t.Fatal(err)
	}
	for _, p := range all {
		if p.ImportPath == module || strings.HasPrefix(p.ImportPath, module+"/") {
			own = append(own, p)
		}
	}
	slices.SortFunc(own, func(a, b goPackage) int { return strings.Compare(a.ImportPath, b.ImportPath) })
	if len(own) < 5 {
		t.Fatalf("go list found only %d packages of the module", len(own))
	}
	return own, all
}

// within reports whether an import path is the given one or below it; a pattern without a dot in its first element
// means one of our own packages.
func within(importPath, pattern string) bool {
	if strings.HasPrefix(pattern, "internal/") {
		pattern = module + "/" + pattern
	}
	return importPath == pattern || strings.HasPrefix(importPath, pattern+"/")
}

// TestImports holds the layers: spec <- topology <- contracts <- drivers <- agent/drivers <- cmd/atolld, and
// spec <- provider <- main.
func TestImports(t *testing.T) {
	plugin := []string{
		"github.com/hashicorp/terraform-plugin-framework", "github.com/hashicorp/terraform-plugin-go",
		"github.com/hashicorp/terraform-plugin-log", "github.com/hashicorp/terraform-plugin-testing",
	}
	rules := []struct {
		from  string
		never []string
		why   string
	}{
		{
			"internal/cmd/atolld", append([]string{"internal/provider", "internal/cloud/linode", "internal/lab", "testing"}, plugin...),
			"the agent runs on nodes and knows nothing of Terraform, machines to rent or the lab",
		},
		{
			"",
			[]string{"internal/agent", "internal/mesh/tinc", "internal/mesh/wireguard", "internal/lab", "internal/host"},
			"the provider runs on an operator's machine and changes nothing there",
		},
		{
			"internal/cmd/atoll", append([]string{"internal/agent", "internal/provider", "internal/lab", "testing"}, plugin...),
			"the operator's command speaks to agents by their API alone",
		},
		{
			"internal/provider",
			[]string{"internal/agent", "internal/lab"},
			"provider and agent meet in the lab only",
		},
		{
			"internal/agent", append([]string{"internal/provider", "internal/cloud", "internal/lab", "testing"}, plugin...),
			"provider and agent meet in the lab only",
		},
		{"internal/trust", []string{"internal/store", "internal/api", "internal/topology"}, "trust is below what it protects"},
		{"internal/store", []string{"internal/api", "internal/gossip", "internal/topology"}, "the store knows no transport"},
	}
	own, all := packages(t)
	for _, rule := range rules {
		root := module
		if rule.from != "" {
			root += "/" + rule.from
		}
		p, ok := all[root]
		if !ok {
			t.Errorf("%s is not there any more: mend the rule", root)
			continue
		}
		for _, dep := range p.Deps {
			for _, never := range rule.never {
				if within(dep, never) {
					t.Errorf("%s depends on %s (%s)\n\tby %s", p.ImportPath, dep, rule.why, chain(all, p.ImportPath, dep))
				}
			}
		}
	}
	for _, p := range own {
		for _, dep := range p.Imports {
			if p.ours() == "internal/spec" && !all[dep].Standard {
				t.Errorf("internal/spec imports %s: it has the standard library only", dep)
			}
			if p.ours() == "internal/upstream" && !all[dep].Standard && !within(dep, "internal/spec") {
				t.Errorf("internal/upstream imports %s: it is pure, and has spec only", dep)
			}
			if p.ours() == "internal/topology" && within(dep, module) && !within(dep, "internal/spec") {
				t.Errorf("internal/topology imports %s: it has spec only", dep)
			}
		}
	}
}

// TestNoTestCodeIsShipped looks at our own packages only: libraries of the plugin protocol import testing themselves.
func TestNoTestCodeIsShipped(t *testing.T) {
	_, all := packages(t)
	for _, program := range []string{module, module + "/internal/cmd/atolld", module + "/internal/cmd/atoll"} {
		for _, dep := range append(all[program].Deps, program) {
			if !within(dep, module) {
				continue
			}
			for _, test := range []string{"testing", "net/http/httptest", "github.com/hashicorp/terraform-plugin-testing"} {
				if slices.ContainsFunc(all[dep].Imports, func(p string) bool { return within(p, test) }) {
					t.Errorf("%s imports %s and is part of %s", dep, test, program)
				}
			}
		}
	}
}

// contracts are the packages that define what their drivers, each a folder below, must do.
var contracts = []string{"mesh", "database", "replication", "balancer", "router"}

// besideDrivers are packages in a contract's folder that are no drivers: what they hold, drivers and others need alike.
var besideDrivers = []string{
	"mesh/keyfile",
	"router/dsn", "router/rolecheck",
	"replication/ahead", "replication/barrier", "replication/choose", "replication/cold", "replication/digest", "replication/exclude", "replication/guard", "replication/place", "replication/smallfiles", "replication/snapshot", "replication/watch", "replication/worker",
}

// driverOf returns the driver, such as "mesh/tinc", that a package belongs to; "" for none. The conformance suite of a
// contract, such as mesh/meshtest, is none.
func driverOf(importPath string) string {
	rest, ok := strings.CutPrefix(importPath, module+"/internal/")
	if !ok {
		return ""
	}
	part := strings.Split(rest, "/")
	if len(part) < 2 || !slices.Contains(contracts, part[0]) || part[1] == part[0]+"test" || slices.Contains(besideDrivers, part[0]+"/"+part[1]) {
		return ""
	}
	return part[0] + "/" + part[1]
}

func TestDrivers(t *testing.T) {
	own, all := packages(t)
	found := 0
	for _, p := range own {
		self := driverOf(p.ImportPath)
		if self != "" {
			found++
			for _, dep := range p.Deps {
				if other := driverOf(dep); other != "" && other != self {
					t.Errorf("%s depends on the driver %s\n\tby %s", p.ImportPath, other, chain(all, p.ImportPath, dep))
				}
				if within(dep, "internal/agent") {
					t.Errorf("%s depends on the agent\n\tby %s", p.ImportPath, chain(all, p.ImportPath, dep))
				}
			}
		}
		for _, dep := range p.Imports {
			other := driverOf(dep)
			if other != "" && other != self && p.ours() != "internal/agent/drivers" {
				t.Errorf("%s imports the driver %s: only internal/agent/drivers does", p.ImportPath, other)
			}
		}
	}
	if found == 0 {
		t.Error("no driver was found: mend driverOf")
	}
}

// chain is one way by which a package came to depend on another.
func chain(all map[string]goPackage, from, to string) string {
	seen := map[string]bool{from: true}
	for queue := [][]string{{from}}; len(queue) > 0; queue = queue[1:] {
		way := queue[0]
		if last := way[len(way)-1]; last != to {
			for _, dep := range all[last].Imports {
				if !seen[dep] {
					seen[dep] = true
					queue = append(queue, append(slices.Clone(way), dep))
				}
			}
			continue
		}
		return strings.Join(way, " -> ")
	}
	return "an import that only a test has"
}

func TestPackages(t *testing.T) {
	own, _ := packages(t)
	vague := regexp.MustCompile(`^(utils?|commons?|helpers?|shared|misc|base)$`)
	for _, p := range own {
		if len(p.GoFiles) == 0 {
			continue
		}
		if p.Doc == "" {
			t.Errorf("%s has no doc comment", p.ImportPath)
		}
		if vague.MatchString(p.Name) {
			t.Errorf("%s: a package is named after what it gives, not %q", p.ImportPath, p.Name)
		}
		if folder := path.Base(p.ImportPath); p.Name != "main" && p.Name != folder {
			t.Errorf("%s: the folder is %q and the package %q", p.ImportPath, folder, p.Name)
		}
	}
}

// TestFileLength holds files to one idea each; what a generator writes has no readers to tire.
func TestFileLength(t *testing.T) {
	const limit = 500
	generated := regexp.MustCompile(`(?m)^// Code generated .* DO NOT EDIT\.$`)
	err := filepath.WalkDir("..", func(file string, entry fs.DirEntry, err error) error {
		if err != nil {
			return err
		}
		if entry.IsDir() && file != ".." && strings.HasPrefix(entry.Name(), ".") {
			return fs.SkipDir
		}
		if entry.IsDir() || filepath.Ext(file) != ".go" {
			return nil
		}
		text, err := os.ReadFile(file)
		if err != nil {
			return err
		}
		if lines := bytes.Count(text, []byte("\n")); lines > limit && !generated.Match(text) {
			t.Errorf("%s has %d lines, more than %d: does a second idea live in it?", file, lines, limit)
		}
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
}
