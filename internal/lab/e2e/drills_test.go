//go:build linux

package e2e_test

import (
	"strings"
	"testing"

	"github.com/atollhq/terraform-provider-atoll/internal/lab/drills"
)

// TestDrills carries out the drills that promise nothing about seconds, which a machine with other work does not keep: what nodes that
// do not hear each other must never do, and what becomes of visitors who are logged in. atoll-lab drills has the others.
func TestDrills(t *testing.T) {
	t.Parallel()
	onceForAllEngines(t)
	engine := requireLab(t)
	programs, err := build()
	if err != nil {
		t.Fatal(err)
	}
	chosen, err := drills.Choose(drills.All(), []string{"edge/partition-two-two", "edge/sessions"}, false)
	if err != nil {
		t.Fatal(err)
	}
	results, err := drills.Run(t.Context(), chosen, drills.Options{
		Programs: programs.shipped, Engine: engine, Dir: t.TempDir(), Say: func(text string) { t.Log(text) },
	})
	if err != nil {
		t.Error(err)
	}
	var table strings.Builder
	if err := drills.WriteTable(&table, results); err != nil {
		t.Error(err)
	}
	t.Log(table.String())
	if n := drills.Failed(results); n > 0 || len(results) != len(chosen) {
		t.Errorf("%d of %d drills did not pass, %d were tried", n, len(chosen), len(results))
	}
}
