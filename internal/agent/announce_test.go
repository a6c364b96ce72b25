package agent_test

import (
	"encoding/json"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/atollhq/terraform-provider-atoll/internal/store"
	"github.com/atollhq/terraform-provider-atoll/internal/trust"
)

// waitConsole waits until a line on the machine's console holds all these words.
func (m *machine) waitConsole(words ...string) {
	m.w.t.Helper()
	m.w.wait(fmt.Sprintf("%s: the console says %q", m.name, words), func() error {
		m.mu.Lock()
		lines := append([]string{}, m.console...)
		m.mu.Unlock()
		for _, line := range lines {
			missing := false
			for _, word := range words {
				missing = missing || !contains(line, word)
			}
			if !missing {
				return nil
			}
		}
		return fmt.Errorf("it says\n%s", strings.Join(lines, "\n"))
	})
}

// TestConsoleTellsOfPeers joins a node whose peers are not there yet.
func TestConsoleTellsOfPeers(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	first, second := w.machine(1, "hk1"), w.machine(2, "sg1")
	first.provision(first.payload(first.ticket(ticketFor{}), first.node("")))
	first.start()
	first.waitConsole("node hk1 of cluster web is up", "no peers")
	// The second one knows of the first, which does not know of it yet and has lost its power.
	if err := first.stop(); err != nil {
		t.Fatal(err)
	}
	proof := first.readProof()
	w.setMeshDown(true)
	second.provision(second.payload(second.ticket(ticketFor{seeds: []string{first.endpoint()}}), second.node(""), first.node("")))
	second.network = "no address on ens3 yet"
	second.start()
	second.waitConsole("this machine is node sg1 of cluster web")
	second.waitConsole("sg1 of cluster web waits for its cluster: nobody has answered yet at "+first.endpoint(), "no network: no address on ens3 yet")
	second.push(proof)
	second.waitConsole("sg1 of cluster web waits for its peers: hk1 of 1 do not answer", "no network: no address on ens3 yet")
	w.setMeshDown(false)
	first.start()
	second.waitConsole("sg1 of cluster web is up: all 1 peers answer")
}

// readProof returns the proof of a machine that has joined.
func (m *machine) readProof() store.Record {
	m.w.t.Helper()
	data, err := os.ReadFile(filepath.Join(m.state, "join.json"))
	if err != nil {
		m.w.t.Fatal(err)
	}
	var record struct {
		Proof trust.Proof `json:"proof"`
	}
	if err := json.Unmarshal(data, &record); err != nil {
		m.w.t.Fatal(err)
	}
	return store.ProofRecord(record.Proof)
}
