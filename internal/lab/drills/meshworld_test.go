//go:build linux

package drills_test

import (
	"bytes"
	"fmt"
	"log/slog"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/atollhq/terraform-provider-atoll/internal/lab/drills"
)

// TestJournal finds in a journal what agents say: the lines are made as theirs are, with the attributes that every one of them has.
func TestJournal(t *testing.T) {
	t.Parallel()
	var said bytes.Buffer
	log := slog.New(slog.NewTextHandler(&said, &slog.HandlerOptions{ReplaceAttr: func(_ []string, a slog.Attr) slog.Attr {
		if a.Key == slog.TimeKey {
			return slog.Attr{}
		}
		return a
	}})).With("cluster", "web", "node", "sg1")
	log.Info("gossip peer changed", "peer", "hk1", "alive", true)
	log.Info("gossip peer changed", "peer", "hk2", "alive", true)
	log.Info("gossip peer changed", "peer", "hk1", "alive", false)
	log.Info("condition changed", "condition", "MeshReady", "status", "False", "reason", "PeersUnreachable", "message", "1 of 2 peers do not answer")
	log.Info("condition changed", "condition", "Applied", "status", "False", "reason", "Failed")
	log.Info("condition changed", "condition", "EdgeReady", "status", "True", "reason", "Removed", "message", "hk1 is out")
	log.Info("fitness to serve changed", "hostname", "www.example.com", "fit", false, "kept", false, "node", "mesh", "application", "")
	log.Warn("the direct link is left, its traffic goes by another node", "peer", "hk1", "why", "lossy", "via", "hk2", "at_least", "30s")
	log.Info("the direct link is in use again", "peer", "hk1", "why", "well")
	var journal strings.Builder
	for line := range strings.Lines(said.String()) {
		fmt.Fprintf(&journal, "1795312800.787440 sg1 atolld[47]: %s", line)
	}
	journal.WriteString("   and a line that belongs to the one before\n")
	want := map[string]int{"alive": 2, "dead": 1, "unready": 1, "unfit": 1, "removed": 1, "away": 1, "back": 1}
	if diff := cmp.Diff(want, drills.Found(journal.String())); diff != "" {
		t.Errorf("found (-want +got):\n%s", diff)
	}
}
