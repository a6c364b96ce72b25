//go:build linux

package lab_test

import (
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"os"
	"path/filepath"
	"testing"
	"time"

	"github.com/atollhq/terraform-provider-atoll/internal/lab"
	"github.com/atollhq/terraform-provider-atoll/internal/lab/await"
	"github.com/atollhq/terraform-provider-atoll/internal/lab/network"
	"github.com/atollhq/terraform-provider-atoll/internal/lab/nodes"
	"github.com/atollhq/terraform-provider-atoll/internal/lab/vm"
	"github.com/atollhq/terraform-provider-atoll/internal/nodeimage"
	"github.com/atollhq/terraform-provider-atoll/internal/spec"
)

// writeImage writes an image, whatever its content is, and returns its manifest's path.
func writeImage(t *testing.T, content []byte, change func(*nodeimage.Manifest)) string {
	t.Helper()
	dir := t.TempDir()
	sum := sha256.Sum256(content)
	m := nodeimage.Manifest{
		Facts: nodeimage.Facts{
			Format: nodeimage.Format, Version: "0.1.0", Wire: spec.WireVersion, Architecture: "amd64", Debian: "trixie",
			Built: time.Date(2026, 1, 2, 3, 4, 5, 0, time.UTC),
		},
		Files: map[nodeimage.Kind]nodeimage.File{
			nodeimage.KindQCOW2: {Name: "disk.qcow2", SHA256: hex.EncodeToString(sum[:]), Size: int64(len(content))},
		},
	}
	change(&m)
	data, err := m.Encode()
	if err != nil {
		t.Fatal(err)
	}
	for name, text := range map[string][]byte{"disk.qcow2": content, "image.manifest.json": data} {
		if err := os.WriteFile(filepath.Join(dir, name), text, 0o600); err != nil {
			t.Fatal(err)
		}
	}
	return filepath.Join(dir, "image.manifest.json")
}

// TestUnusableImage starts labs with images that they cannot use. Each says why, at once, and leaves nothing.
func TestUnusableImage(t *testing.T) {
	if err := nodes.Check(vm.Requirements()...); err != nil {
		t.Skipf("NOT RUN: %v", err)
	}
	for _, test := range []struct {
		name   string
		change func(*nodeimage.Manifest)
		want   func(error) bool
	}{
		{"damaged", func(m *nodeimage.Manifest) {
			f := m.Files[nodeimage.KindQCOW2]
			f.Size++
			m.Files[nodeimage.KindQCOW2] = f
		}, func(err error) bool {
			var damaged *lab.DamagedImageError
			return errors.As(err, &damaged) && damaged.Want.Size == damaged.Has.Size+1
		}},
		{"of another architecture", func(m *nodeimage.Manifest) { m.Architecture = "arm64" }, func(err error) bool {
			var other *nodeimage.MismatchError
			return errors.As(err, &other) && other.What == "architecture"
		}},
		{"of another version", func(m *nodeimage.Manifest) { m.Wire++ }, func(err error) bool {
			var other *nodeimage.MismatchError
			return errors.As(err, &other) && other.What == "wire"
		}},
		{"without a disk", func(m *nodeimage.Manifest) {
			f := m.Files[nodeimage.KindQCOW2]
			delete(m.Files, nodeimage.KindQCOW2)
			m.Files[nodeimage.KindSBOM] = f
		}, func(err error) bool {
			var missing *nodeimage.MissingKindError
			return errors.As(err, &missing) && missing.Kind == nodeimage.KindQCOW2
		}},
	} {
		t.Run(test.name, func(t *testing.T) {
			name := uniqueName("image")
			l, err := lab.Start(t.Context(), lab.Options{
				Name: name, Temporary: true, Boot: lab.BootVM, Image: writeImage(t, []byte("a disk"), test.change),
				Machines: []lab.Machine{{Name: "hk1", Site: network.SiteColo}},
			})
			if err == nil {
				t.Errorf("the lab started: %v", l.Close())
			} else if !test.want(err) {
				t.Errorf("the error is %v", err)
			}
			wantNothingLeft(t, name)
		})
	}
}

// TestCheck has options that make no sense.
func TestCheck(t *testing.T) {
	requireLab(t)
	for name, o := range map[string]lab.Options{
		"an unknown kind of machine":          {Boot: "cloud"},
		"an unknown kind of a single machine": {Machines: []lab.Machine{{Name: "hk1", Site: network.SiteColo, Boot: "cloud"}}},
		"a container with a seed disk":        {Machines: []lab.Machine{{Name: "hk1", Site: network.SiteColo, Seed: "seed.img"}}},
		"a container without a boot loader":   {Machines: []lab.Machine{{Name: "hk1", Site: network.SiteColo, DirectKernel: true}}},
		"a container among virtual machines":  {Boot: lab.BootVM, Machines: []lab.Machine{{Name: "hk1", Site: network.SiteColo, Boot: lab.BootContainer, Disk: 1}}},
		"a seed disk in the wrong machine":    {Machines: []lab.Machine{{Name: "hk1", Site: network.SiteColo, Boot: lab.BootVM}, {Name: "hk2", Site: network.SiteColo, Seed: "x"}}},
	} {
		if err := o.Check(); err == nil {
			t.Errorf("%s is accepted", name)
		}
	}
	if err := (lab.Options{}).Check(); err != nil {
		t.Errorf("the default is refused: %v", err)
	}
}

// TestOnlyVirtual does to a container what only works with virtual machines.
func TestOnlyVirtual(t *testing.T) {
	l := start(t, lab.Options{Name: "only", Machines: []lab.Machine{{Name: "hk1", Site: network.SiteColo}}})
	if err := l.Insert(t.Context(), "hk1", "/dev/null"); !errors.Is(err, lab.ErrNotVirtual) {
		t.Errorf("a seed disk went into a container: %v", err)
	}
	if _, err := l.Disk("hk1"); !errors.Is(err, lab.ErrNotVirtual) {
		t.Errorf("a container has a disk: %v", err)
	}
	for _, m := range []lab.Machine{{Name: "hk2", Site: network.SiteColo, Seed: "/dev/null"}, {Name: "hk2", Site: network.SiteColo, Boot: lab.BootVM}} {
		if err := l.Add(t.Context(), m); !errors.Is(err, lab.ErrNotVirtual) {
			t.Errorf("a machine was added that cannot be: %v", err)
		}
	}
	if err := l.Add(t.Context(), lab.Machine{Name: "hk2", Site: network.SiteColo}); err != nil {
		t.Fatal(err)
	}
	if err := l.WaitSSH(t.Context(), "hk2"); err != nil {
		t.Fatal(err)
	}
	// A pulled cable keeps everything away, and put back it is as before.
	if err := l.PullCable("hk2"); err != nil {
		t.Fatal(err)
	}
	if pings(t, l, "hk1", "hk2") {
		t.Error("hk2 is reached without its cable")
	}
	if err := l.PlugCable("hk2"); err != nil {
		t.Fatal(err)
	}
	await.True(t, "hk2 is reached with its cable", patience, func() bool { return pings(t, l, "hk1", "hk2") })
	if err := l.Discard(t.Context(), "hk2"); err != nil {
		t.Fatal(err)
	}
	if _, err := l.Node("hk2"); !errors.Is(err, lab.ErrNoMachine) {
		t.Errorf("a machine that was taken out is there: %v", err)
	}
}
