package gossip_test

import (
	"testing"
	"time"

	"github.com/atollhq/terraform-provider-atoll/internal/spec"
	"github.com/atollhq/terraform-provider-atoll/internal/store"
	"github.com/atollhq/terraform-provider-atoll/internal/trust"
)

// TestPushThatComesTooLate has a node report what its peer has newer, from a second machine that reports as the node. The
// node learns of that by the answer to its push and in no other way, also when it does not get hold of the newer one at once.
func TestPushThatComesTooLate(t *testing.T) {
	for name, brokenOff := range map[string]int{"at once": 0, "both ways to the peer break off": 2} {
		t.Run(name, func(t *testing.T) { pushTooLate(t, brokenOff) })
	}
}

func pushTooLate(t *testing.T, brokenOff int) {
	w := newWorld(t)
	agents := w.addMany(2)
	node, peer := agents[0], agents[1]
	node.quiet = true
	node.boot(false)
	peer.boot(false)
	w.introduce()
	w.converge(agents...)
	w.waitFor("the node has compared with its peer", func() bool {
		node.mu.Lock()
		defer node.mu.Unlock()
		err, heard := node.heard[peer.name]
		return heard && err == nil
	})
	for plane := range 2 {
		w.setCut(peer, node, plane, true)
	}
	report := func(sequence uint64, boot string) store.Record {
		e, err := trust.SignStatus(node.id, spec.Status{
			Wire: spec.WireVersion, Cluster: clusterName, Node: node.name, Sequence: sequence, BootID: boot, Reported: time.Now(),
		})
		if err != nil {
			t.Fatal(err)
		}
		return store.StatusRecord(e)
	}
	peer.mu.Lock()
	peer.breakOff = brokenOff
	peer.mu.Unlock()
	for _, o := range append(peer.store.MergeRemote([]store.Record{report(10, "other")}), node.store.Merge([]store.Record{report(5, "own")})...) {
		if o.Result != store.Accepted {
			t.Fatalf("got %+v", o)
		}
	}
	w.waitFor("the node knows of the other report", func() bool { return node.store.Snapshot().Statuses[node.name].BootID == "other" })
}
