package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"

	"github.com/atollhq/terraform-provider-atoll/internal/lab"
	"github.com/atollhq/terraform-provider-atoll/internal/lab/rig"
	"github.com/atollhq/terraform-provider-atoll/internal/lab/writer"
)

// atollGroup is the reference topology's database.
type atollGroup struct {
	*rig.Database
	site *rig.Site
	dir  string
}

func newAtollGroup(ctx context.Context, out io.Writer) (databaseGroup, error) {
	dir, err := os.MkdirTemp("", "atoll-bench-")
	if err != nil {
		return nil, err
	}
	g, err := makeAtollGroup(ctx, out, dir)
	if err != nil {
		return nil, errors.Join(err, os.RemoveAll(dir))
	}
	return g, nil
}

func makeAtollGroup(ctx context.Context, out io.Writer, dir string) (*atollGroup, error) {
	programs, err := rig.Build(ctx, filepath.Join(dir, "bin"))
	if err != nil {
		return nil, err
	}
	engine, err := engine(ctx, programs)
	if err != nil {
		return nil, err
	}
	site, err := rig.NewSite(ctx, programs, rig.SiteOptions{
		Engine: engine, Dir: dir, Env: []string{rig.WithDatabase("", labNodes...)},
		Lab: lab.Options{
			Name: fmt.Sprintf("bench-%d", os.Getpid()), Temporary: true,
			Progress: func(doing string) { fmt.Fprintln(os.Stderr, "bench:", doing) },
		},
	})
	if err != nil {
		return nil, err
	}
	r, err := site.Work.Run(ctx, "apply", "-auto-approve")
	if err != nil {
		return nil, errors.Join(err, site.Close())
	}
	fmt.Fprintf(out, "atoll: the first apply of the reference topology with its database: %s\n\n", seconds(r.Took))
	return &atollGroup{Database: site.Database(labNodes...), site: site, dir: dir}, nil
}

func (g *atollGroup) nodes() []string                  { return slices.Clone(g.Nodes) }
func (g *atollGroup) router(node string) writer.Server { return g.Router(node) }
func (g *atollGroup) member(node string) writer.Server { return g.Member(node) }
func (g *atollGroup) root(node string) writer.Server   { return g.Root(node) }
func (g *atollGroup) ready(ctx context.Context) error  { return g.Ready(ctx) }
func (g *atollGroup) recover(context.Context) error    { return errors.New("nobody has to") }
func (g *atollGroup) close(context.Context) error {
	return errors.Join(g.site.Close(), os.RemoveAll(g.dir))
}

func (g *atollGroup) primary(ctx context.Context) (string, error) { return g.Primary(ctx) }

func (g *atollGroup) crash(ctx context.Context, node string) error {
	_, err := g.site.Exec(ctx, node, "systemctl", "kill", "--signal=KILL", "atoll-mysql.service")
	return err
}

func (g *atollGroup) powerCut(ctx context.Context, node string) error { return g.site.Kill(ctx, node) }

func (g *atollGroup) powerOn(ctx context.Context, node string) error {
	return g.site.PowerOn(ctx, node)
}

func (g *atollGroup) switchover(ctx context.Context, to string) error {
	_, err := g.site.Atoll(ctx, "switchover", "--database", g.Name(), "--to", to)
	return err
}

// atollWipe is what a lost disk is to a node whose agent lives.
const atollWipe = `set -eu
systemctl stop atolld.service atoll-mysql.service
rm -rf /var/lib/atoll-mysql
systemctl start atolld.service`

func (g *atollGroup) wipe(ctx context.Context, node string) error {
	_, err := g.site.Exec(ctx, node, "sh", "-c", atollWipe)
	return err
}

// memory says what the members use.
func (g *atollGroup) memory(ctx context.Context) (string, error) {
	var parts []string
	for _, n := range g.Nodes {
		machine, err := g.site.Node(n)
		if err != nil {
			return "", err
		}
		var of []string
		for _, program := range []string{"mysqld", "mysqlrouter", "atolld"} {
			out, err := g.site.Exec(ctx, n, "sh", "-c", "ps -C "+program+" -o rss= | sort -n | tail -n 1")
			if err != nil {
				return "", err
			}
			kib, err := strconv.Atoi(strings.TrimSpace(string(out)))
			if err != nil {
				return "", fmt.Errorf("%s on %s: %w", program, n, err)
			}
			of = append(of, fmt.Sprintf("%s %d MiB", program, kib>>10))
		}
		parts = append(parts, fmt.Sprintf("%s %d MiB in all (%s)", n, machine.MemoryBytes>>20, strings.Join(of, ", ")))
	}
	slices.Sort(parts)
	return "atoll: memory after the faults: " + strings.Join(parts, "; ") + ".", nil
}
