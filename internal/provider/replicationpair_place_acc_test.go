package provider_test

import (
	"regexp"
	"strings"
	"testing"

	"github.com/hashicorp/terraform-plugin-testing/helper/resource"
	"github.com/hashicorp/terraform-plugin-testing/statecheck"

	"github.com/atollhq/terraform-provider-atoll/internal/lab/inproc"
	"github.com/atollhq/terraform-provider-atoll/internal/replication/place"
)

// TestPairIsPlanned plans pairs on directories that cannot carry them: nodes are asked for the facts.
func TestPairIsPlanned(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	disk := func(change func(*place.Facts)) place.Facts {
		f := inproc.EmptyDisk()
		change(&f)
		return f
	}
	full := disk(func(f *place.Facts) {
		f.Exists, f.Files, f.Directories, f.Bytes = true, 47_000, 3000, 5<<30
	})
	// The tree is at a1; b1 is what a case says of it.
	tests := []struct {
		name       string
		here       place.Facts
		there      place.Facts
		more       string
		fails, has string
	}{
		{"gone after a restart", full, disk(func(f *place.Facts) { f.FileSystem, f.Mount = "tmpfs", "/srv" }), "", "type tmpfs .mounted at /srv., whose contents are gone", ""},
		{"no owners", full, disk(func(f *place.Facts) { f.FileSystem = "exfat" }), "", "keeps neither owners nor permissions", ""},
		{"read-only", full, disk(func(f *place.Facts) { f.ReadOnly = true }), "", "that is read-only", ""},
		{"a file", full, disk(func(f *place.Facts) { f.Exists, f.NoDirectory = true, true }), "", "is no directory", ""},
		{"below a file", full, disk(func(f *place.Facts) { f.NoDirectory = true }), "", "something above it is no directory", ""},
		{"no room", full, disk(func(f *place.Facts) { f.FreeBytes = 4 << 30 }), "", "room for 4.3 GB more, and the tree on a1 has 5.4 GB more", ""},
		{"no inodes", full, disk(func(f *place.Facts) { f.FreeInodes = 40_000 }), "", "inodes for 40000 more files, and the tree on a1 has 50000 more", ""},
		{"other file systems", full, disk(func(f *place.Facts) { f.Exists, f.Mounts = true, []string{"video"} }), "", "other file systems in it, at /srv/uploads/video", ""},
		{"too many directories", disk(func(f *place.Facts) { f.Exists, f.Directories = true, 2_000_000; f.FreeInodes = -1 }), disk(func(f *place.Facts) { f.Handles, f.FreeInodes = false, -1 }), "", "there are 2000000 of them, and 1048576 can be watched", ""},
		{"no ACLs", full, disk(func(f *place.Facts) { f.ACLs = false }), "", "", "keeps no access control lists"},
		{"a shared file system", full, disk(func(f *place.Facts) { f.FileSystem = "nfs4" }), "", "", "what other machines change there is not noticed"},
		// What is no trouble.
		{"most of it is there", full, disk(func(f *place.Facts) {
			f.Exists, f.Files, f.Bytes, f.FreeBytes, f.FreeInodes = true, 46_000, 5<<30-1<<20, 1<<29, 5000
		}), "", "", ""},
		{"not all was counted", full, disk(func(f *place.Facts) { f.Exists, f.Counted, f.FreeBytes = true, false, 1<<20 }), "", "", ""},
		{"as many files as there is room for", full, disk(func(f *place.Facts) { f.FileSystem, f.FreeInodes = "btrfs", -1 }), "", "", ""},
		{"watched one by one", full, disk(func(f *place.Facts) { f.Handles = false }), "", "", ""},
		{"not to be seen", full, place.Facts{Hidden: true, FileSystem: "tmpfs"}, "", "", ""},
		{"excluded file systems", full, disk(func(f *place.Facts) { f.Exists, f.Mounts = true, []string{"cache/x"} }), `exclude = ["/cache"]`, "", ""},
	}
	const no = "Unfit|Not everything can|may go unnoticed|Not looked at"
	steps := []resource.TestStep{{Config: twoNodes()}}
	for _, tt := range tests {
		set := func() {
			w.warned.take()
			w.machineOf(t, "a1").SetPlace("/srv/uploads", tt.here)
			w.machineOf(t, "b1").SetPlace("/srv/uploads", tt.there)
		}
		config := twoNodes() + uploadsPair(tt.more)
		if tt.fails != "" {
			// Terraform breaks lines at blanks.
			pattern := regexp.MustCompile(strings.ReplaceAll(tt.fails, " ", `\s+`))
			steps = append(steps, resource.TestStep{PreConfig: set, Config: config, PlanOnly: true, ExpectError: pattern})
			continue
		}
		steps = append(steps, resource.TestStep{PreConfig: set, Config: config, PlanOnly: true, ExpectNonEmptyPlan: true}, resource.TestStep{
			PreConfig: func() {
				for _, text := range w.warned.take() {
					if tt.has == "" && regexp.MustCompile(no).MatchString(text) {
						t.Errorf("%s: the plan warns: %s", tt.name, text)
					}
					if tt.has != "" && strings.Contains(text, tt.has) {
						return
					}
				}
				if tt.has != "" {
					t.Errorf("%s: the plan does not warn of %q", tt.name, tt.has)
				}
			},
			Config: twoNodes(),
		})
	}
	// One node that does not answer is worth a word; nobody can be asked, and a plan works all the same.
	for _, down := range [][]string{{"b1"}, {"a1", "b1"}} {
		one := len(down) == 1
		steps = append(steps, resource.TestStep{
			PreConfig: func() {
				for _, node := range down {
					if err := w.machineOf(t, node).Stop(); err != nil {
						t.Fatal(err)
					}
				}
				w.warned.take()
			},
			Config: twoNodes() + uploadsPair(""), PlanOnly: true, ExpectNonEmptyPlan: true,
		}, resource.TestStep{
			PreConfig: func() {
				if err := w.warned.check(one, "Not looked at", `Node "b1" does not say`); err != nil {
					t.Error(err)
				}
				for _, node := range down {
					w.machineOf(t, node).Start()
				}
			},
			Config: twoNodes(),
		})
	}
	// A pair that is there already is not looked at again, and a change of its tree is.
	steps = append(
		steps, resource.TestStep{
			PreConfig: func() {
				w.machineOf(t, "a1").SetPlace("/srv/uploads", full)
				w.machineOf(t, "b1").SetPlace("/srv/uploads", full)
				w.machineOf(t, "b1").SetPlace("/srv/ram", disk(func(f *place.Facts) { f.FileSystem = "tmpfs" }))
			},
			Config: twoNodes() + uploadsPair(""), ConfigStateChecks: []statecheck.StateCheck{pairState("synced")},
		},
		resource.TestStep{
			PreConfig: func() { w.machineOf(t, "b1").SetPlace("/srv/uploads", disk(func(f *place.Facts) { f.FreeBytes = 0 })) },
			Config:    twoNodes() + uploadsPair("objective_seconds = 30"),
		},
		resource.TestStep{
			Config:   strings.Replace(twoNodes()+uploadsPair("objective_seconds = 30"), `atoll_node.b1, path = "/srv/uploads"`, `atoll_node.b1, path = "/srv/ram"`, 1),
			PlanOnly: true, ExpectError: says("whose contents are gone after a restart"),
		},
	)
	w.test(t, steps...)
}
