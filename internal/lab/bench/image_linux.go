package main

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"time"

	"github.com/atollhq/terraform-provider-atoll/internal/lab"
	"github.com/atollhq/terraform-provider-atoll/internal/lab/rig"
	"github.com/atollhq/terraform-provider-atoll/internal/nodeimage"
)

// imageVariable names the manifest of the image to measure when it is not the newest that was built here.
const imageVariable = "ATOLL_IMAGE"

// imageStack is a cluster of machines that each boot with a seed disk: one that is alone, and three that come at once and
// are linked to each other.
const imageStack = `terraform {
  required_providers {
    atoll = { source = "atollhq/atoll" }
  }
}

provider "atoll" {}

resource "atoll_cluster" "web" {
  name      = "web"
  mesh_cidr = "10.66.0.0/16"
  seeds     = [for host in values(local.machines) : "${host}:7443"]
}

locals {
  machines = { alone = "198.51.100.10", n1 = "198.51.100.11", n2 = "198.51.100.12", n3 = "198.51.100.13" }
  pairs    = { a = ["n1", "n2"], b = ["n1", "n3"], c = ["n2", "n3"] }
}

resource "atoll_node" "n" {
  for_each = local.machines

  cluster        = atoll_cluster.web
  name           = each.key
  failure_domain = { provider = "colo", site = "hong-kong" }

  seed = {
    host = each.value
  }
}

resource "atoll_mesh_link" "pair" {
  for_each = local.pairs

  from = atoll_node.n[each.value[0]]
  to   = atoll_node.n[each.value[1]]
}
`

// imageBench measures virtual machines of the built image.
type imageBench struct {
	*rig.Site
	out io.Writer
	dir string
}

// benchImage measures sizes of the image, a machine's way from its kernel to a node, and three of them to a mesh. All of that
// is several times as fast with KVM as without.
func benchImage(ctx context.Context, out io.Writer) (err error) {
	manifest := os.Getenv(imageVariable)
	if manifest == "" {
		manifest = filepath.Join(".build", "images", "current.manifest.json")
	}
	if manifest, err = filepath.Abs(manifest); err != nil {
		return err
	}
	if err := imageSizes(out, manifest); err != nil {
		return fmt.Errorf("%w (make image builds one)", err)
	}
	dir, err := os.MkdirTemp("", "atoll-bench-")
	if err != nil {
		return err
	}
	defer func() { _ = os.RemoveAll(dir) }()
	programs, err := rig.Build(ctx, filepath.Join(dir, "bin"))
	if err != nil {
		return err
	}
	engine, err := engine(ctx, programs)
	if err != nil {
		return err
	}
	stack := filepath.Join(dir, "stack")
	if err := os.Mkdir(stack, 0o700); err != nil {
		return err
	}
	if err := os.WriteFile(filepath.Join(stack, "main.tf"), []byte(imageStack), 0o600); err != nil {
		return err
	}
	options := lab.Options{Name: fmt.Sprintf("bench-%d", os.Getpid()), Temporary: true, Boot: lab.BootVM, Image: manifest}
	for _, name := range []string{"alone", "n1", "n2", "n3"} {
		options.Machines = append(options.Machines, lab.Machine{Name: name, Site: "hk-colo", Off: true})
	}
	site, err := rig.NewSite(ctx, programs, rig.SiteOptions{Engine: engine, Dir: dir, Stack: stack, Lab: options})
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, site.Close()) }()
	b := &imageBench{Site: site, out: out, dir: dir}
	for _, step := range []func(context.Context) error{b.alone, b.atOnce} {
		if err := step(ctx); err != nil {
			return err
		}
	}
	return nil
}

// imageSizes prints what the manifest says.
func imageSizes(out io.Writer, manifest string) error {
	m, _, err := nodeimage.Read(manifest)
	if err != nil {
		return err
	}
	var rows [][]string
	for _, kind := range nodeimage.Kinds() {
		f, err := m.File(kind)
		if err != nil {
			continue // not built
		}
		whole := "-"
		if f.UncompressedSize > 0 {
			whole = fmt.Sprintf("%.0f MiB", float64(f.UncompressedSize)/(1<<20))
		}
		rows = append(rows, []string{string(kind), fmt.Sprintf("%.1f MiB", float64(f.Size)/(1<<20)), whole})
	}
	fmt.Fprintf(out, "Image %s, Debian %s, %d packages:\n\n", m.Version, m.Debian, m.Packages)
	printTable(out, []string{"file", "size", "uncompressed"}, rows)
	return nil
}

// boot gives machines power at once, each with its seed, and applies until they are what the targets say. It returns how
// long that took.
func (b *imageBench) boot(ctx context.Context, machines []string, targets ...string) (time.Duration, error) {
	for _, name := range machines {
		seed := filepath.Join(b.dir, name+".img")
		if _, err := b.Atoll(ctx, "seed", "--cluster", "web", "--node", name, "--seed", "198.51.100.10:7443",
			"--ssh-key", b.Variable("ATOLL_LAB_SSH_KEY")+".pub", "--out", seed); err != nil {
			return 0, err
		}
		if err := b.Insert(ctx, name, seed); err != nil {
			return 0, err
		}
	}
	from := time.Now()
	for _, name := range machines {
		if err := b.PowerOn(ctx, name); err != nil {
			return 0, err
		}
	}
	args := []string{"apply", "-auto-approve"}
	for _, t := range targets {
		args = append(args, "-target="+t)
	}
	_, err := b.Work.Run(ctx, args...)
	return time.Since(from), err
}

// alone measures one machine that has this machine to itself.
func (b *imageBench) alone(ctx context.Context) error {
	took, err := b.boot(ctx, []string{"alone"}, `atoll_node.n["alone"]`)
	if err != nil {
		return err
	}
	row, err := b.course(ctx, "alone")
	if err != nil {
		return err
	}
	fmt.Fprintf(b.out, "One machine (1 virtual CPU, 512 MiB, BIOS and GRUB, cloud-init), emulated; power to done for `apply`: %s\n\n", seconds(took))
	printTable(b.out, courseColumns, [][]string{row})
	return nil
}

// atOnce measures three machines that get power at the same moment.
func (b *imageBench) atOnce(ctx context.Context) error {
	names := []string{"n1", "n2", "n3"}
	took, err := b.boot(ctx, names)
	if err != nil {
		return err
	}
	if err := b.PingAll(ctx, names...); err != nil {
		return err
	}
	var rows [][]string
	for _, n := range names {
		row, err := b.course(ctx, n)
		if err != nil {
			return err
		}
		rows = append(rows, row)
	}
	fmt.Fprintf(b.out, "Three at once; power to a mesh in which each pair has been heard in both directions: %s\n\n", seconds(took))
	printTable(b.out, courseColumns, rows)
	return nil
}

var courseColumns = []string{"machine", "kernel to agent", "kernel to joined", "kernel to SSH", "kernel", "userspace", "memory", "memory of this machine"}

// course reads from a machine when it was where on its way, in seconds since its kernel started.
func (b *imageBench) course(ctx context.Context, name string) ([]string, error) {
	if err := b.WaitSSH(ctx, name); err != nil {
		return nil, err
	}
	if _, err := b.Exec(ctx, name, "systemctl", "is-system-running", "--wait"); err != nil {
		return nil, err
	}
	agent, err := b.logged(ctx, name, "atolld.service", "Started atolld.service")
	if err != nil {
		return nil, err
	}
	joined, err := b.logged(ctx, name, "atolld.service", "msg=joined")
	if err != nil {
		return nil, err
	}
	ssh, err := b.logged(ctx, name, "ssh.service", "Server listening on 0.0.0.0")
	if err != nil {
		return nil, err
	}
	analysis, err := b.Exec(ctx, name, "systemd-analyze", "time")
	if err != nil {
		return nil, err
	}
	// "Startup finished in 9.3s (kernel) + 46.0s (userspace) = 55.4s"
	parts := map[string]string{}
	fields := strings.Fields(string(analysis))
	for i := 1; i < len(fields); i++ {
		if what := strings.Trim(fields[i], "()"); what != fields[i] {
			parts[what] = fields[i-1]
		}
	}
	free, err := b.Exec(ctx, name, "awk", "/MemTotal/ {t=$2} /MemAvailable/ {a=$2} END {print int((t-a)/1024)}", "/proc/meminfo")
	if err != nil {
		return nil, err
	}
	state, err := b.Node(name)
	if err != nil {
		return nil, err
	}
	return []string{
		name, seconds(agent), seconds(joined), seconds(ssh), parts["kernel"], parts["userspace"],
		strings.TrimSpace(string(free)) + " MiB", fmt.Sprintf("%d MiB", state.MemoryBytes>>20),
	}, nil
}

// logged returns when a unit first logged a text, since the kernel started.
func (b *imageBench) logged(ctx context.Context, machine, unit, text string) (time.Duration, error) {
	out, err := b.Exec(ctx, machine, "journalctl", "-b", "-u", unit, "-o", "json", "--output-fields=MESSAGE", "--no-pager")
	if err != nil {
		return 0, err
	}
	for line := range bytes.Lines(out) {
		var entry struct {
			At      string `json:"__MONOTONIC_TIMESTAMP"`
			Message string `json:"MESSAGE"`
		}
		if json.Unmarshal(line, &entry) != nil || !strings.Contains(entry.Message, text) {
			continue
		}
		micros, err := strconv.ParseInt(entry.At, 10, 64)
		return time.Duration(micros) * time.Microsecond, err
	}
	return 0, fmt.Errorf("%s of %s never says %q", unit, machine, text)
}
