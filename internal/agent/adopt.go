package agent

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/atollhq/terraform-provider-atoll/internal/platform"
)

// errAdopted ends a session whose membership has been renewed.
var errAdopted = errors.New("the membership is renewed")

// heedFile looks for a first-boot file on a node that has joined already: somebody with root on this machine put it there
// on purpose, so it is obeyed, unlike carriers that merely still hold what they held at first boot. A newer ticket for this
// very node renews the membership, keeping its identity; the node may have been removed and made again while it was off.
// Anything else is refused and said so, since a node never leaves its cluster by itself.
func (s *session) heedFile(ctx context.Context) error {
	tick := time.NewTicker(pollFile)
	defer tick.Stop()
	for {
		renewed, err := s.lookAtFile(ctx)
		if renewed {
			return errors.Join(errAdopted, err)
		}
		text := ""
		if err != nil {
			text = err.Error()
		}
		s.setFileProblem(text)
		select {
		case <-ctx.Done():
			return ctx.Err()
		case <-tick.C:
		}
	}
}

// lookAtFile looks once, and says whether the membership was renewed.
func (s *session) lookAtFile(ctx context.Context) (renewed bool, err error) {
	file := s.a.cfg.Machine.File()
	found, findings := platform.Look(ctx, []platform.Source{file})
	if found == nil {
		if problem := findings[0].Problem; problem != "" {
			return false, errors.New(problem)
		}
		return false, nil
	}
	p := found.Payload
	if p.Root() != s.m.root || p.Node != s.m.record.Node {
		return false, fmt.Errorf("it is for node %q of cluster %q (signing key %s), but this machine is node %q of cluster %q (signing key %s): remove it from there first, or run \"atolld uninstall --purge\"",
			p.Node, p.Cluster, p.SigningKey.Fingerprint(), s.m.record.Node, s.m.record.Cluster, s.m.record.SigningKey.Fingerprint())
	}
	ticket, err := s.a.checkTicket(p)
	if ticket.ID == s.m.member.Ticket.ID {
		// What the node joined with, written again by somebody who did not know.
		return false, file.Forget(ctx, found.SHA256)
	}
	if err != nil {
		return false, err
	}
	if !ticket.Issued.After(s.m.member.Ticket.Issued) {
		return false, fmt.Errorf("its ticket was issued at %s, before the one that this node joined by: remove the file, or issue a new ticket",
			ticket.Issued.Format(time.RFC3339))
	}
	if s.leaves() {
		// It joins by this file as well, but as a new node: who was removed does not keep its identity.
		return false, nil
	}
	m, err := s.a.join(ctx, found)
	// From here on the new record is on the disk, whatever else happened.
	return m != nil, err
}

// leaves tells whether this node leaves its cluster, or is about to notice that it has been removed.
func (s *session) leaves() bool {
	_, removed := s.removal(s.store.Snapshot())
	s.mu.Lock()
	defer s.mu.Unlock()
	return removed || s.departed != nil || len(s.leave) > 0
}

func (s *session) setFileProblem(text string) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if text != "" && text != s.fileProblem {
		s.log.Warn("the first-boot file is not used", "reason", text)
	}
	s.fileProblem = text
}
