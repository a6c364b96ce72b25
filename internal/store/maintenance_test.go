package store_test

import (
	"slices"
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/google/go-cmp/cmp/cmpopts"

	"github.com/atollhq/terraform-provider-atoll/internal/spec"
	"github.com/atollhq/terraform-provider-atoll/internal/store"
	"github.com/atollhq/terraform-provider-atoll/internal/trust"
)

// TestMaintenanceOfANodeThatWasMadeAgain: whoever is told to take a node out of service means the node that there was. The
// order in which the records arrive does not matter.
func TestMaintenanceOfANodeThatWasMadeAgain(t *testing.T) {
	o := newOperator(t)
	since := spec.Maintenance{Reason: "new disk", Since: noon()}
	enter := func(generation uint64) store.Record { return o.object("sg1", generation, since) }
	var none trust.PublicKey
	tests := []struct {
		name    string
		records []store.Record
		away    bool
	}{
		{"in maintenance", []store.Record{o.node("sg1", at(1), "x", none), enter(at(2))}, true},
		{"left again", []store.Record{o.node("sg1", at(1), "x", none), enter(at(2)), o.tombstone(spec.KindMaintenance, "sg1", at(3))}, false},
		{"entered again", []store.Record{o.tombstone(spec.KindMaintenance, "sg1", at(3)), enter(at(4)), o.node("sg1", at(1), "x", none)}, true},
		{"the node changed meanwhile", []store.Record{o.node("sg1", at(3), "y", none), enter(at(2))}, true},
		{"the node was removed", []store.Record{enter(at(2)), o.tombstone(spec.KindNode, "sg1", at(3))}, false},
		{"the node was made again", []store.Record{enter(at(2)), o.tombstone(spec.KindNode, "sg1", at(3)), o.node("sg1", at(4), "x", none)}, false},
		{"the new node, too", []store.Record{enter(at(5)), o.tombstone(spec.KindNode, "sg1", at(3)), o.node("sg1", at(4), "x", none)}, true},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			for _, records := range [][]store.Record{tt.records, reversed(tt.records)} {
				s := store.New(o.root(), store.Options{Now: noon})
				for _, outcome := range s.Merge(records) {
					if outcome.Result == store.Refused {
						t.Fatalf("%+v", outcome)
					}
				}
				want := map[string]spec.Maintenance{}
				if tt.away {
					want["sg1"] = since
				}
				if diff := cmp.Diff(want, s.Snapshot().Maintenance, cmpopts.EquateEmpty()); diff != "" {
					t.Errorf("maintenance (-want +got):\n%s", diff)
				}
			}
		})
	}
}

func reversed(records []store.Record) []store.Record {
	records = slices.Clone(records)
	slices.Reverse(records)
	return records
}
