//go:build linux

package e2e_test

import (
	"context"
	"encoding/json"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/atollhq/terraform-provider-atoll/internal/platform"
	"github.com/atollhq/terraform-provider-atoll/internal/spec"
	"github.com/atollhq/terraform-provider-atoll/internal/trust"
)

// firstBootFile is where a machine looks for first-boot data.
const firstBootFile = "/etc/atoll/first-boot.json"

// ticketsAreRefused brings first-boot data to a real agent by the way that operators without Terraform use, each time with
// another thing wrong, and reads what the agent says of it.
func ticketsAreRefused(t *testing.T, s *site) {
	s.bringAgent(t, spare)
	cluster, key := s.cluster(t), s.Key
	stranger, err := trust.NewSigningKey()
	if err != nil {
		t.Fatal(err)
	}
	root := trust.Root{Cluster: cluster, Key: key.Public()}
	now := time.Now()
	good := s.ticketFile(t, "--cluster", cluster, "--node", spare)

	for _, tt := range []struct {
		name string
		data []byte
		want []string
	}{
		{"expired", payload(t, root, key, trust.TicketRequest{Cluster: cluster, Node: spare, Lifetime: time.Hour, Now: now.Add(-2 * time.Hour)}), []string{"expired"}},
		{"from the future", payload(t, root, key, trust.TicketRequest{Cluster: cluster, Node: spare, Lifetime: time.Hour, Now: now.Add(time.Hour)}), []string{"behind the right time"}},
		{"forged", payload(t, root, stranger, trust.TicketRequest{Cluster: cluster, Node: spare, Lifetime: time.Hour, Now: now}), []string{"sign"}},
		{"foreign cluster", payload(t, root, key, trust.TicketRequest{Cluster: "elsewhere", Node: spare, Lifetime: time.Hour, Now: now}), []string{"elsewhere", cluster}},
		{"renamed", edit(t, good, "node", "other"), []string{spare, "other"}},
		{"unknown version", edit(t, good, "atoll", 99), []string{"version 99", "update"}},
		{"unknown key", edit(t, good, "surprise", true), []string{"surprise"}},
		{"cut short", good[:len(good)/2], []string{"json"}},
	} {
		t.Run(tt.name, func(t *testing.T) {
			s.bringFile(t, spare, firstBootFile, tt.data)
			s.eventually(t, "the agent says what is wrong", 15*time.Second, func(ctx context.Context) error {
				h, err := s.Health(ctx, spare)
				if err != nil {
					return err
				}
				for _, part := range tt.want {
					if h.State != "waiting" || !strings.Contains(strings.ToLower(h.Waiting), strings.ToLower(part)) {
						return fmt.Errorf("the agent is %s and says %q, want it to wait and name %q", h.State, h.Waiting, part)
					}
				}
				return nil
			})
		})
	}

	t.Run("second identity of a living node", func(t *testing.T) {
		before := s.identity(t, "hk1")
		s.bringFile(t, spare, firstBootFile, s.ticketFile(t, "--cluster", cluster, "--node", "hk1"))
		s.eventually(t, "the machine has used its ticket", 20*time.Second, func(ctx context.Context) error {
			_, err := s.Exec(ctx, spare, "test", "-e", "/var/lib/atoll/join.json")
			return err
		})
		s.eventually(t, "the machine says why it is not let in", 40*time.Second, func(ctx context.Context) error {
			h, err := s.Health(ctx, spare)
			if err != nil {
				return err
			}
			text := strings.ToLower(fmt.Sprint(h.Waiting, h.Parts))
			if h.Healthy || !strings.Contains(text, "identity") {
				return fmt.Errorf("the agent says %+v", h)
			}
			return nil
		})
		s.eventually(t, "the other nodes report it as a conflict", 20*time.Second, func(ctx context.Context) error {
			status, _, err := s.Status(ctx)
			if err != nil {
				return err
			}
			for _, node := range []string{"hk2", "sg1"} {
				if c, _ := status.Nodes[node].Condition(spec.ConditionConflict); c.Status == spec.ConditionTrue {
					return nil
				}
			}
			return errNot("no other node reports a conflict")
		})
		if after := s.identity(t, "hk1"); after != before {
			t.Errorf("hk1 has another identity: %s, it was %s", after, before)
		}
		if err := s.PingAll(t.Context(), everyNode...); err != nil {
			t.Error(err)
		}
	})
	s.takeAgent(t, spare)
	// The operator's answer.
	if out, err := s.Atoll(t.Context(), "pin", "hk1"); err != nil {
		t.Fatalf("atoll pin: %v\n%s", err, out)
	}
	s.wantHealthy(t, time.Minute, everyNode...)
	s.wantNoChange(t)
}

// bringAgent installs the agent on a machine by hand.
func (s *site) bringAgent(t *testing.T, machine string) {
	t.Helper()
	program, err := os.ReadFile(s.Programs.Path("atolld"))
	if err != nil {
		t.Fatal(err)
	}
	s.bringFile(t, machine, "/usr/local/bin/atolld", program)
	s.exec(t, machine, "chmod", "755", "/usr/local/bin/atolld")
	s.exec(t, machine, "/usr/local/bin/atolld", "install", "--start")
}

// takeAgent removes the agent and everything of it from a machine by hand.
func (s *site) takeAgent(t *testing.T, machine string) {
	t.Helper()
	s.exec(t, machine, "/usr/local/bin/atolld", "uninstall", "--purge")
	s.exec(t, machine, "rm", "-f", firstBootFile)
	s.wantClean(t, machine)
}

// bringFile writes a file on a machine that only root can read.
func (s *site) bringFile(t *testing.T, machine, path string, data []byte) {
	t.Helper()
	cmd, err := s.Command(t.Context(), machine, "sh", "-c", "umask 077; cat > "+path+".new && mv "+path+".new "+path)
	if err != nil {
		t.Fatal(err)
	}
	cmd.Stdin = strings.NewReader(string(data))
	if out, err := cmd.CombinedOutput(); err != nil {
		t.Fatalf("write %s on %s: %v\n%s", path, machine, err, out)
	}
}

// ticketFile runs `atoll ticket new` and returns the first-boot data that it writes.
func (s *site) ticketFile(t *testing.T, args ...string) []byte {
	t.Helper()
	out := filepath.Join(t.TempDir(), "first-boot.json")
	if _, err := s.Atoll(t.Context(), append([]string{"ticket", "new", "--out", out}, args...)...); err != nil {
		t.Fatal(err)
	}
	data, err := os.ReadFile(out)
	if err != nil {
		t.Fatal(err)
	}
	return data
}

// payload makes first-boot data with a ticket that the key signs.
func payload(t *testing.T, root trust.Root, key *trust.SigningKey, request trust.TicketRequest) []byte {
	t.Helper()
	ticket, err := trust.IssueTicket(key, request)
	if err != nil {
		t.Fatal(err)
	}
	data, err := platform.NewPayload(root, ticket, nil)
	if err != nil {
		t.Fatal(err)
	}
	return data
}

// edit changes one key of first-boot data.
func edit(t *testing.T, data []byte, key string, value any) []byte {
	t.Helper()
	var fields map[string]any
	if err := json.Unmarshal(data, &fields); err != nil {
		t.Fatal(err)
	}
	fields[key] = value
	out, err := json.Marshal(fields)
	if err != nil {
		t.Fatal(err)
	}
	return out
}

// identity is the identity that the cluster admits under a node's name.
func (s *site) identity(t *testing.T, node string) string {
	t.Helper()
	status, _, err := s.Status(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	return status.Nodes[node].Identity.String()
}
