package agent

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"time"

	"github.com/atollhq/terraform-provider-atoll/internal/api"
)

const (
	// homeInterval is how often a node looks who answers at its addresses.
	homeInterval = 10 * time.Second
	// homePatience is how long an answer may take. A start waits for it, where packets to a node's own public address get lost.
	homePatience = 2 * time.Second
)

// errNotAtHome ends a session on a machine that is a copy of the node.
var errNotAtHome = errors.New("another machine answers as this node at the node's address")

// watchHome looks from time to time, and when a report of this node's is not its own, who answers at this node's addresses, until ctx ends or it is another machine.
func (s *session) watchHome(ctx context.Context) error {
	tick := time.NewTicker(homeInterval)
	defer tick.Stop()
	for {
		select {
		case <-ctx.Done():
			return ctx.Err()
		case <-s.suspicion:
		case <-tick.C:
		}
		if err := s.lookHome(ctx); err != nil {
			return err
		}
	}
}

// lookHome asks for this node where its object says that it is. When another start of its agent answers there, with the
// node's identity, that machine is the node and this one a copy that its hardware does not give away: it writes that down
// and returns errNotAtHome. Two machines never both find the other one, since the first address at which anybody answers
// decides; the one that stays learns of the copy by its call. Where nobody answers nothing is known, and reports tell
// (see twin).
func (s *session) lookHome(ctx context.Context) error {
	snapshot := s.store.Snapshot()
	endpoints := snapshot.Nodes[s.m.record.Node].Endpoints(s.ports(snapshot.Cluster).API)
	boots := make([]string, len(endpoints))
	var asking sync.WaitGroup
	for i, endpoint := range endpoints {
		asking.Go(func() { boots[i] = s.whoAnswers(ctx, endpoint) })
	}
	asking.Wait()
	for i, boot := range boots {
		switch boot {
		case "":
			continue
		case s.a.bootID:
			return nil
		}
		s.log.Error("this machine is a copy of a node that runs elsewhere and does nothing from now on", "address", endpoints[i], "start", boot)
		if err := s.a.standAside(endpoints[i]); err != nil {
			return err
		}
		return errNotAtHome
	}
	return nil
}

// whoAnswers returns which start of this node's agent answers at an endpoint, "" when none does.
func (s *session) whoAnswers(ctx context.Context, endpoint string) string {
	ctx, cancel := context.WithTimeout(ctx, homePatience)
	defer cancel()
	identity := s.m.identity.Public()
	client := s.client(api.Target{Cluster: s.m.record.Cluster, Node: s.m.record.Node, Endpoints: []string{endpoint}, Pin: &identity})
	defer client.Close()
	info, err := client.Info(ctx)
	if err != nil {
		s.log.Debug("nobody answers as this node", "endpoint", endpoint, "error", err)
		return ""
	}
	return info.BootID
}

// standAside writes down that this node runs on another machine, which answers at endpoint. Only the operator's word changes
// that: a node that has fallen silent is not off.
func (a *Agent) standAside(endpoint string) error {
	var home hardwareRecord
	if _, err := a.state.readJSON(hardwareFile, &home); err != nil {
		home = hardwareRecord{}
	}
	home.Answers = endpoint
	if err := a.state.writeJSON(hardwareFile, home); err != nil {
		return fmt.Errorf("remember that this machine is a copy: %w", err)
	}
	return nil
}
