//go:build linux

package e2e_test

import (
	"context"
	"os"
	"strings"
	"testing"
	"time"

	"github.com/atollhq/terraform-provider-atoll/internal/spec"
)

// clockDropIn is where a machine's agent is told to be wrong about the time.
const clockDropIn = "/etc/systemd/system/atolld.service.d/clock.conf"

// wrongClock makes a node again on a machine whose clock is five minutes wrong, in either direction. It joins, is named as
// the one whose clock is wrong, takes part in everything, and is well again once its clock is.
func wrongClock(t *testing.T, s *site) {
	const victim = "hk2"
	right, err := os.ReadFile(s.Programs.Path("atolld"))
	if err != nil {
		t.Fatal(err)
	}
	address := s.address(t, victim)
	for _, wrong := range []time.Duration{5 * time.Minute, -5 * time.Minute} {
		t.Run(wrong.String(), func(t *testing.T) {
			s.exec(t, victim, "mkdir", "-p", "/etc/systemd/system/atolld.service.d")
			s.bringFile(t, victim, clockDropIn, []byte("[Service]\nEnvironment="+clockVariable+"="+seconds(wrong)+"\n"))
			if r, err := s.Work.RunWith(t.Context(), []string{"ATOLL_AGENT_BINARY=" + s.wrong.Path("atolld")}, "apply", "-auto-approve", "-replace="+address); err != nil {
				s.explain(t)
				t.Fatalf("the node does not join: %v\n%s", err, r.Output)
			}
			s.wantOneWrongClock(t, victim, map[bool]string{true: "ahead of", false: "behind"}[wrong > 0])
			if err := s.PingAll(t.Context(), everyNode...); err != nil {
				t.Errorf("the mesh does not work: %v", err)
			}
			record, object := s.renew(t, "hk1", spec.Ref{Kind: spec.KindNode, Name: "hk1"})
			if err := push(t.Context(), s.agent(t, "hk1"), record); err != nil {
				t.Fatal(err)
			}
			s.eventually(t, "objects reach the node with the wrong clock", 20*time.Second, func(ctx context.Context) error {
				return s.knowEverywhere(ctx, t, object)
			})
			s.wantNoChange(t)
		})
	}
	s.exec(t, victim, "rm", "-r", "/etc/systemd/system/atolld.service.d")
	s.exec(t, victim, "systemctl", "daemon-reload")
	s.swapAgent(t, victim, right)
	s.wantHealthy(t, 4*time.Minute, everyNode...)
}

// wantOneWrongClock waits until every node reports that the victim's clock is wrong and no other's.
func (s *site) wantOneWrongClock(t *testing.T, victim, direction string) {
	t.Helper()
	s.eventually(t, "the node with the wrong clock is named, and nobody else", 3*time.Minute, func(ctx context.Context) error {
		status, healthy, err := s.Status(ctx)
		if err != nil {
			return err
		}
		if healthy {
			return errNot("atoll status finds the cluster healthy")
		}
		for name, node := range status.Nodes {
			condition, reported := node.Condition(spec.ConditionClockSane)
			if !reported || condition.Good() == (name == victim) {
				return errNot("%s reports %+v", name, condition)
			}
			if name == victim && !strings.Contains(condition.Message, direction) {
				return errNot("%s reports %q, want %q in it", name, condition.Message, direction)
			}
		}
		return nil
	})
}

// swapAgent replaces a node's agent as an update would.
func (s *site) swapAgent(t *testing.T, node string, program []byte) {
	t.Helper()
	s.bringFile(t, node, "/usr/local/bin/atolld", program)
	s.exec(t, node, "chmod", "755", "/usr/local/bin/atolld")
	s.exec(t, node, "systemctl", "restart", "atolld.service")
}
