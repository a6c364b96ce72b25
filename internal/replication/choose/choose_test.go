package choose_test

import (
	"errors"
	"slices"
	"strings"
	"testing"

	"pgregory.net/rapid"

	"github.com/atollhq/terraform-provider-atoll/internal/replication/choose"
)

func TestFor(t *testing.T) {
	t.Parallel()
	data := func(change func(*choose.Tree)) choose.Tree {
		tree := choose.Tree{Kind: choose.KindData, Writers: choose.WritersMany, Files: 40_000, AverageBytes: 15_000, ChangesPerMinute: 20, Nodes: 2, RTT: 35}
		if change != nil {
			change(&tree)
		}
		return tree
	}
	tests := []struct {
		name   string
		give   choose.Tree
		want   choose.Mode
		reason string
		// against is a program that something has to speak against, caution what has to be said.
		against, caution string
	}{
		{"uploads on two sites", data(nil), choose.ModePair, "35 ms away", "nfs", "no backup"},
		{"nothing known but what it is", choose.Tree{Kind: choose.KindData, Writers: choose.WritersOne}, choose.ModePair, "own disk", "lustre", "no backup"},
		{"filed by date", data(func(t *choose.Tree) { t.Dated = true }), choose.ModePairCold, "filed by date", "rsync", ""},
		{"millions, filed by date", data(func(t *choose.Tree) { t.Dated, t.Files = true, 3_000_000 }), choose.ModePairCold, "filed by date", "gluster", "3000000 take"},
		{"millions", data(func(t *choose.Tree) { t.Files = 3_000_000 }), choose.ModeObjectStorage, "3000000 files", "pair", "split"},
		{"video that is written all the time", data(func(t *choose.Tree) { t.AverageBytes, t.ChangesPerMinute = 4<<30, 2 }), choose.ModeObjectStorage, "143 MB/s", "nfs", "wireguard"},
		{"locks, far", data(func(t *choose.Tree) { t.Locks = true }), choose.ModePairOneWriter, "35 ms", "syncthing", "database"},
		{"locks, unknown how far", data(func(t *choose.Tree) { t.Locks, t.RTT = true, 0 }), choose.ModePairOneWriter, "not said", "pair", ""},
		{"locks, near", data(func(t *choose.Tree) { t.Locks, t.RTT = true, 0.3 }), choose.ModeSharedFileSystem, "0.3 ms", "pair", "Atoll does not make it"},
		{"locks of one writer", data(func(t *choose.Tree) { t.Locks, t.Writers = true, choose.WritersOne }), choose.ModePair, "own disk", "lustre", ""},
		{"ACLs", data(func(t *choose.Tree) { t.ACLs = true }), choose.ModePair, "ACLs", "csync2", ""},
		{"a star", data(func(t *choose.Tree) { t.Nodes = 6 }), choose.ModePair, "own disk", "drbd", "6 nodes are 5 pairs"},
		{"nobody writes", data(func(t *choose.Tree) { t.Writers = choose.WritersNone }), choose.ModeDeploy, "from somewhere else", "lustre", ""},
		{"code", choose.Tree{Kind: choose.KindCode, Writers: choose.WritersNone}, choose.ModeDeploy, "a mistake", "pair", ""},
		{"code that updates itself", choose.Tree{Kind: choose.KindCode, Writers: choose.WritersOne}, choose.ModeDeploy, "a mistake", "pair", "atoll upgrade"},
		{"config", choose.Tree{Kind: choose.KindConfig, Writers: choose.WritersNone}, choose.ModeDeploy, "fit each other", "pair", ""},
		{"database", choose.Tree{Kind: choose.KindDatabase, Writers: choose.WritersMany}, choose.ModeDatabase, "no database", "pair", ""},
		{"sessions", choose.Tree{Kind: choose.KindSessions, Writers: choose.WritersMany}, choose.ModeDatabase, "next request", "lustre", "session_affinity"},
		{"git", choose.Tree{Kind: choose.KindGit, Writers: choose.WritersMany}, choose.ModeGit, "fit each other", "syncthing", ""},
		{"logs", choose.Tree{Kind: choose.KindLogs, Writers: choose.WritersMany}, choose.ModeShip, "appended", "pair", ""},
		{"cache", choose.Tree{Kind: choose.KindCache, Writers: choose.WritersMany}, choose.ModeLocal, "made again", "lustre", ""},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			a, err := choose.For(tt.give)
			if err != nil {
				t.Fatal(err)
			}
			if reasons := strings.Join(a.Reasons, "\n"); a.Mode != tt.want || !strings.Contains(reasons, tt.reason) {
				t.Errorf("got %s, since\n%s\nwant %s, since %q", a.Mode, reasons, tt.want, tt.reason)
			}
			if cautions := strings.Join(a.Cautions, "\n"); !strings.Contains(cautions, tt.caution) {
				t.Errorf("got the cautions\n%s\nwant %q", cautions, tt.caution)
			}
			i := slices.IndexFunc(a.Alternatives, func(o choose.Alternative) bool { return o.Name == tt.against })
			if i < 0 || a.Alternatives[i].Against == "" {
				t.Errorf("nothing speaks against %s", tt.against)
			}
		})
	}
}

func TestProblems(t *testing.T) {
	t.Parallel()
	for field, tree := range map[string]choose.Tree{
		"kind": {Kind: "photos", Writers: choose.WritersOne}, "writers": {Kind: choose.KindData, Writers: "two"},
		"files":  {Kind: choose.KindData, Writers: choose.WritersOne, Files: -1},
		"rtt_ms": {Kind: choose.KindData, Writers: choose.WritersOne, RTT: -1},
	} {
		_, err := choose.For(tree)
		var p *choose.Problem
		if !errors.As(err, &p) || p.Field != field {
			t.Errorf("%+v: got %v, want a problem of %s", tree, err, field)
		}
	}
}

// TestEveryAdviceIsWhole demands of any tree that the advice has a mode that there is, a reason, what to do, and the whole table; that a
// pair is never the answer where something speaks against one; and that it does not depend on what matters to nobody.
func TestEveryAdviceIsWhole(t *testing.T) {
	t.Parallel()
	rapid.Check(t, func(t *rapid.T) {
		tree := choose.Tree{
			Kind: rapid.SampledFrom(choose.Kinds()).Draw(t, "kind"), Writers: rapid.SampledFrom(choose.AllWriters()).Draw(t, "writers"),
			Files: rapid.Int64Range(0, 1e8).Draw(t, "files"), AverageBytes: rapid.Int64Range(0, 1e10).Draw(t, "bytes"),
			ChangesPerMinute: rapid.Float64Range(0, 1e5).Draw(t, "changes"), Nodes: rapid.Int64Range(0, 50).Draw(t, "nodes"), RTT: rapid.Float64Range(0, 500).Draw(t, "rtt"),
			Dated: rapid.Bool().Draw(t, "dated"), Locks: rapid.Bool().Draw(t, "locks"), ACLs: rapid.Bool().Draw(t, "acls"),
		}
		a, err := choose.For(tree)
		if err != nil {
			t.Fatal(err)
		}
		if !slices.Contains(choose.Modes(), a.Mode) || a.Title == "" || a.Do == "" || len(a.Reasons) == 0 || len(a.Alternatives) != 8 {
			t.Fatalf("got %+v", a)
		}
		for _, o := range a.Alternatives {
			for _, c := range choose.Criteria() {
				if m := o.Marks[c]; m.Why == "" || !slices.Contains([]choose.Grade{choose.Good, choose.Fair, choose.Poor}, m.Grade) {
					t.Errorf("%s has no %s", o.Name, c)
				}
			}
			if o.Name == "pair" && o.Against != "" && (a.Mode == choose.ModePair || a.Mode == choose.ModePairCold) {
				t.Errorf("a pair it is, although %s", o.Against)
			}
		}
	})
}
