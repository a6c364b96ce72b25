//go:build linux

package e2e_test

import (
	"context"
	"strings"
	"testing"
	"time"

	"github.com/atollhq/terraform-provider-atoll/internal/trust"
)

// firstBootWithoutNetwork brings an agent onto a machine whose cable is out, and reads what it says to whoever stands
// before the machine.
func firstBootWithoutNetwork(t *testing.T, s *site) {
	port := strings.TrimSpace(s.exec(t, spare, "sh", "-c", "ip -o route show default | sed 's/.* dev \\([^ ]*\\).*/\\1/'"))
	// A port that goes down loses its routes for good.
	s.exec(t, spare, "sh", "-c", "ip -4 route show >/run/routes")
	s.bringAgent(t, spare)
	s.exec(t, spare, "ip", "link", "set", port, "down")

	s.says(t, "no first-boot data yet", "no network: no cable in "+port)
	// A cluster of its own, so that the one of this test never hears of it.
	key, err := trust.NewSigningKey()
	if err != nil {
		t.Fatal(err)
	}
	s.bringFile(t, spare, firstBootFile, payload(t, trust.Root{Cluster: "lonely", Key: key.Public()}, key, trust.TicketRequest{
		Cluster: "lonely", Node: spare, Lifetime: time.Hour, Now: time.Now(), Seeds: []string{"192.0.2.1:7443"},
	}))
	s.says(t, "node "+spare+" of cluster lonely waits for", "no network: no cable in "+port)
	if got := s.exec(t, spare, "sh", "-c", "test -e "+firstBootFile+" || echo gone"); strings.TrimSpace(got) != "gone" {
		t.Error("the ticket is still there")
	}

	s.exec(t, spare, "ip", "link", "set", port, "up")
	s.exec(t, spare, "sh", "-c", "for way in -v -e; do grep $way via /run/routes | while read -r route; do ip route replace $route; done; done")
	s.eventually(t, "the agent tells of the network no more", 30*time.Second, func(context.Context) error {
		lines := s.waitingLines(t)
		if last := lines[len(lines)-1]; !strings.Contains(last, "waits for") || strings.Contains(last, "no network") {
			return errNot("the last line is %q", last)
		}
		return nil
	})
	s.takeAgent(t, spare)
}

// says waits until a line of the agent's journal on the spare machine has all these words. The console gets the same lines,
// but a container has none.
func (s *site) says(t *testing.T, words ...string) {
	t.Helper()
	s.eventually(t, "the agent says "+strings.Join(words, ", "), 40*time.Second, func(context.Context) error {
		lines := s.waitingLines(t)
		for _, line := range lines {
			missing := false
			for _, word := range words {
				missing = missing || !strings.Contains(line, word)
			}
			if !missing {
				return nil
			}
		}
		return errNot("the agent says:\n%s", strings.Join(lines, "\n"))
	})
}

// waitingLines returns what the agent on the spare machine has said that it waits for.
func (s *site) waitingLines(t *testing.T) []string {
	t.Helper()
	lines := []string{""}
	for line := range strings.Lines(s.exec(t, spare, "journalctl", "--unit=atolld", "--output=cat", "--no-pager")) {
		if _, said, ok := strings.Cut(line, "msg=waiting for="); ok {
			lines = append(lines, strings.TrimSpace(said))
		}
	}
	return lines
}
