//go:build unix

package store

import (
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"time"

	"github.com/google/renameio/v2"

	"github.com/atollhq/terraform-provider-atoll/internal/trust"
)

// rivalsFile holds the proofs that were not admitted. It is a note, not a record: it is never spread, and a damaged one only
// costs the memory of who has knocked.
const rivalsFile = "rivals"

// note of a candidate, as it is on disk.
type note struct {
	Proof   trust.Proof `json:"proof"`
	Arrived time.Time   `json:"arrived"`
	Seen    uint64      `json:"seen,omitempty"`
	Rival   bool        `json:"rival,omitempty"`
}

func (d *files) note(candidates map[string][]candidate) error {
	var notes []note
	for _, node := range slices.Sorted(maps.Keys(candidates)) {
		for _, c := range candidates[node] {
			notes = append(notes, note{Proof: c.member.Proof, Arrived: c.arrived, Seen: c.seen, Rival: c.rival})
		}
	}
	path := filepath.Join(d.dir, rivalsFile)
	if len(notes) == 0 {
		if err := os.Remove(path); err != nil && !errors.Is(err, fs.ErrNotExist) {
			return fmt.Errorf("forget second identities: %w", err)
		}
		return nil
	}
	data, err := json.Marshal(notes)
	if err != nil {
		return fmt.Errorf("encode second identities: %w", err)
	}
	if err := renameio.WriteFile(path, data, 0o600, renameio.WithTempDir(d.dir), renameio.WithStaticPermissions(0o600)); err != nil {
		return fmt.Errorf("write second identities: %w", err)
	}
	return nil
}

// recallRivals puts the candidates of earlier starts back, judged by what the store holds now.
func (s *Store) recallRivals(d *files, next *state) {
	data, err := os.ReadFile(filepath.Join(d.dir, rivalsFile))
	if errors.Is(err, fs.ErrNotExist) {
		return
	}
	var notes []note
	if err == nil {
		err = json.Unmarshal(data, &notes)
	}
	if err != nil {
		s.log.Warn("second identities of earlier starts cannot be read", "error", err)
		return
	}
	for _, n := range notes {
		e, err := read(s.root, ProofRecord(n.Proof))
		if err != nil {
			s.log.Warn("a second identity of an earlier start is forgotten", "error", err)
			continue
		}
		node := e.member.Node
		known := next.candidates[node]
		same := func(c candidate) bool { return c.member.Identity == e.member.Identity }
		admitted := next.member(node)
		if next.revoked(e.member) != nil || admitted != nil && admitted.Identity == e.member.Identity ||
			slices.ContainsFunc(known, same) || len(known) >= maxCandidates {
			continue
		}
		next.candidates[node] = append(slices.Clip(known), candidate{entry: e, arrived: n.Arrived, seen: n.Seen, rival: n.Rival})
	}
}
