package rig

import (
	"bytes"
	"context"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"strings"
)

// Version is the version under which a rig offers its providers.
const Version = "0.1.0"

// hosts are the registries that Terraform and OpenTofu ask for a provider that names none.
var hosts = []string{"registry.terraform.io", "registry.opentofu.org"}

// Programs are the programs of this source tree, built as they are shipped.
type Programs struct {
	// Dir holds the programs by name: terraform-provider-atoll, atolld, atoll, atoll-demo.
	Dir string
	// Mirror is a filesystem mirror with the providers.
	Mirror string
	// Source is the root of the source tree.
	Source string
}

// Build builds the provider, the agent, the operator's command and the demo's application into dir.
func Build(ctx context.Context, dir string) (*Programs, error) {
	source, err := Source(ctx)
	if err != nil {
		return nil, err
	}
	p := &Programs{Dir: dir, Mirror: filepath.Join(dir, "mirror"), Source: source}
	if err := p.compile(ctx, ".", "./internal/cmd/atolld", "./internal/cmd/atoll", "./internal/cmd/atoll-demo"); err != nil {
		return nil, err
	}
	return p, p.offer("atoll", p.Path("terraform-provider-atoll"))
}

// Use takes programs that were built before, from dir, and offers the provider in mirror, on the same file system. It needs no source
// tree, so a site made of them has to name its stack.
func Use(dir, mirror string) (*Programs, error) {
	p := &Programs{Dir: dir, Mirror: mirror}
	for _, name := range []string{"terraform-provider-atoll", "atolld", "atoll"} {
		if _, err := os.Stat(p.Path(name)); err != nil {
			return nil, fmt.Errorf("find the programs: %w", err)
		}
	}
	return p, p.offer("atoll", p.Path("terraform-provider-atoll"))
}

// BuildProvider builds another provider of the tree, in the given package, and offers it as registry address atollhq/name.
func (p *Programs) BuildProvider(ctx context.Context, name, pkg string) error {
	if err := p.compile(ctx, pkg); err != nil {
		return err
	}
	return p.offer(name, p.Path(filepath.Base(pkg)))
}

// Path returns the path of a program.
func (p *Programs) Path(name string) string { return filepath.Join(p.Dir, name) }

func (p *Programs) compile(ctx context.Context, packages ...string) error {
	if err := os.MkdirAll(p.Dir, 0o755); err != nil {
		return fmt.Errorf("build: %w", err)
	}
	args := append([]string{"build", "-trimpath", "-ldflags", "-s -w -X main.version=" + Version, "-o", p.Dir + "/"}, packages...)
	build := exec.CommandContext(ctx, "go", args...)
	build.Dir = p.Source
	build.Env = append(os.Environ(), "CGO_ENABLED=0")
	if out, err := build.CombinedOutput(); err != nil {
		return fmt.Errorf("build %s: %w\n%s", strings.Join(packages, " "), err, out)
	}
	return nil
}

// offer puts a provider into the mirror, for Terraform and for OpenTofu.
func (p *Programs) offer(name, program string) error {
	for _, host := range hosts {
		dir := filepath.Join(p.Mirror, host, "atollhq", name, Version, runtime.GOOS+"_"+runtime.GOARCH)
		if err := os.MkdirAll(dir, 0o755); err != nil {
			return fmt.Errorf("offer provider %s: %w", name, err)
		}
		link := filepath.Join(dir, "terraform-provider-"+name+"_v"+Version)
		if err := os.Remove(link); err != nil && !os.IsNotExist(err) {
			return fmt.Errorf("offer provider %s: %w", name, err)
		}
		if err := os.Link(program, link); err != nil {
			return fmt.Errorf("offer provider %s: %w", name, err)
		}
	}
	return nil
}

// Source returns the root of the source tree that the command runs in.
func Source(ctx context.Context) (string, error) {
	out, err := exec.CommandContext(ctx, "go", "env", "GOMOD").Output()
	if err != nil {
		return "", fmt.Errorf("find the source tree: %w", err)
	}
	mod := string(bytes.TrimSpace(out))
	if filepath.Base(mod) != "go.mod" {
		return "", fmt.Errorf("find the source tree: %q is not in it: run this inside the source tree", mod)
	}
	return filepath.Dir(mod), nil
}
