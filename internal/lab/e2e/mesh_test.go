//go:build linux

package e2e_test

import (
	"context"
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"
)

// The nodes of the reference topology, which are also the names of their machines.
var everyNode = []string{"hk1", "hk2", "sg1"}

// healthy demands that `atoll status` finds nothing wrong and knows these nodes and no other.
func (s *site) healthy(ctx context.Context, nodes ...string) error {
	status, healthy, err := s.Status(ctx)
	if err != nil {
		return err
	}
	var known []string
	for name := range status.Nodes {
		known = append(known, name)
	}
	slices.Sort(known)
	if !slices.Equal(known, nodes) {
		return fmt.Errorf("the cluster has the nodes %v, want %v", known, nodes)
	}
	if !healthy {
		text, err := s.Atoll(ctx, "status")
		return fmt.Errorf("the cluster is not healthy (%v):\n%s", err, text) //nolint:errorlint // for people, and often nil
	}
	return nil
}

// wantHealthy waits until the cluster is healthy and each node reaches each other.
func (s *site) wantHealthy(t *testing.T, within time.Duration, nodes ...string) {
	t.Helper()
	s.eventually(t, fmt.Sprintf("%s are a healthy cluster", strings.Join(nodes, ", ")), within, func(ctx context.Context) error {
		if err := s.PingAll(ctx, nodes...); err != nil {
			return err
		}
		return s.healthy(ctx, nodes...)
	})
}
