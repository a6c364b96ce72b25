package agent

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/atollhq/terraform-provider-atoll/internal/platform"
	"github.com/atollhq/terraform-provider-atoll/internal/spec"
	"github.com/atollhq/terraform-provider-atoll/internal/trust"
)

// The persistent steps of joining and leaving, for tests that cut the power after each of them.
const (
	stepIdentity = "identity made"
	stepMeshKeys = "mesh keys made"
	stepJoined   = "join recorded"
	stepForgot   = "first-boot data forgotten"
	stepDone     = "forgetting recorded"

	stepLeaving = "leaving recorded"
	// stepDatabase begins the names of what a database member has decided and written down, and not done yet.
	stepDatabase = "database "
	// stepKeyChange and stepKeyChanged are around the change to a new mesh key.
	stepKeyChange  = "mesh key written down"
	stepKeyChanged = "mesh key changed"
	stepMeshGone   = "mesh removed"
	stepStateGone  = "state removed"
	stepLeftRecord = "leaving finished"
)

// join makes this node a member by right of the payload. Each step is written down before the next one relies on it, and
// each may be repeated: a node that loses power anywhere continues at its next start, with the same identity.
func (a *Agent) join(ctx context.Context, found *platform.Found) (*membership, error) {
	p := found.Payload
	ticket, err := a.checkTicket(p)
	if err == nil {
		err = checkWire(p)
	}
	if trust.ReasonOf(err) == trust.ReasonUnknownWireVersion {
		err = fmt.Errorf("%w: boot this machine from an image of the version that the cluster has", err)
	}
	if err != nil {
		return nil, err
	}
	id, err := a.ensureIdentity()
	if err != nil {
		return nil, err
	}
	if err := a.checkpoint(stepIdentity); err != nil {
		return nil, err
	}
	proof, err := a.prove(ctx, p, id)
	if err != nil {
		return nil, err
	}
	m := &membership{root: p.Root(), identity: id, record: joinRecord{
		Wire: spec.WireVersion, Cluster: p.Cluster, Node: p.Node, SigningKey: p.SigningKey, Proof: proof, Objects: p.Objects,
		Source: found.Source.Name(), SHA256: found.SHA256, Joined: a.cfg.Now().UTC(),
	}}
	if m.member, err = m.root.VerifyProof(proof); err != nil {
		return nil, fmt.Errorf("check the proof that was just made: %w", err)
	}
	if err := a.state.writeJSON(joinFile, m.record); err != nil {
		return nil, err
	}
	a.log.Info("joined", "cluster", p.Cluster, "node", p.Node, "identity", id.Public().Fingerprint(),
		"ticket", ticket.ID, "source", found.Source.Name(), "sha256", found.SHA256)
	return m, a.checkpoint(stepJoined)
}

// prove makes the mesh keys, for every driver so that the cluster may change its driver later, and signs them with the
// ticket.
func (a *Agent) prove(ctx context.Context, p *platform.Payload, id *trust.Identity) (trust.Proof, error) {
	keys := map[spec.MeshDriver]string{}
	for name, driver := range a.drivers {
		public, err := driver.EnsureKey(ctx)
		if err != nil {
			return trust.Proof{}, fmt.Errorf("make the key of mesh driver %s: %w", name, err)
		}
		keys[name] = public
	}
	if err := a.checkpoint(stepMeshKeys); err != nil {
		return trust.Proof{}, err
	}
	proof, err := trust.MakeProof(p.Ticket, p.TicketKey, id, trust.Claim{MeshKeys: keys, Made: a.cfg.Now()})
	if err != nil {
		return trust.Proof{}, fmt.Errorf("use the ticket: %w", err)
	}
	return proof, nil
}

// checkTicket judges a payload's ticket.
func (a *Agent) checkTicket(p *platform.Payload) (trust.Ticket, error) {
	t, err := p.Root().VerifyTicket(p.Ticket)
	if err != nil {
		return t, err
	}
	if t.Node != p.Node {
		return t, &trust.Refusal{
			Reason: trust.ReasonWrongNode, Subject: fmt.Sprintf("ticket %s", t.ID),
			Message: fmt.Sprintf("is for node %q, but the first-boot data calls this node %q; issue a ticket for the right name", t.Node, p.Node),
		}
	}
	left, err := loadLeft(a.state)
	if err != nil {
		return t, fmt.Errorf("what this node has left before is damaged, so a used ticket cannot be told from a new one; if this ticket was issued after the node was last removed from a cluster, remove %s and the node joins: %w",
			a.state.path(leftFile), err)
	}
	if err := left.check(p.Root(), t); err != nil {
		return t, err
	}
	return t, a.checkTime(t)
}

// checkWire refuses to join a cluster that says things which this agent cannot understand. Whatever else is wrong with an
// object is for the store to refuse; the cluster gives the node better ones.
func checkWire(p *platform.Payload) error {
	for _, o := range p.Objects {
		if _, err := p.Root().VerifyObject(o); trust.ReasonOf(err) == trust.ReasonUnknownWireVersion {
			return err
		}
	}
	return nil
}

// checkTime judges a ticket by this machine's clock, and says what would have to be wrong with that clock if the ticket is
// good: at first boot a machine's clock is the likelier culprit.
func (a *Agent) checkTime(t trust.Ticket) error {
	now := a.cfg.Now()
	err := t.CheckTime(now)
	switch trust.ReasonOf(err) {
	case trust.ReasonExpired:
		return fmt.Errorf("%w: either the ticket is too old, or the clock of this machine (%s) is at least %s ahead of the right time",
			err, now.UTC().Format(time.RFC3339), now.Sub(t.Expires).Round(time.Second))
	case trust.ReasonNotYetValid:
		return fmt.Errorf("%w: either the clock of this machine (%s) is at least %s behind the right time, or the clock where the ticket was issued is as much ahead",
			err, now.UTC().Format(time.RFC3339), t.Issued.Sub(now).Round(time.Second))
	default:
		return err
	}
}

// forget removes the used first-boot data from its carrier, with the ticket's key.
func (a *Agent) forget(ctx context.Context, m *membership) error {
	if m.record.Forgotten {
		return nil
	}
	sources, err := a.cfg.Machine.Sources()
	if err != nil {
		a.log.Warn("not every carrier of first-boot data is known", "error", err)
	}
	for _, source := range sources {
		if source.Name() != m.record.Source {
			continue
		}
		err := source.Forget(ctx, m.record.SHA256)
		var stays *platform.StaysError
		switch {
		case errors.As(err, &stays) && stays.Err == nil:
			a.log.Warn("the used first-boot data stays where it is", "source", stays.Source, "remedy", stays.Remedy)
			a.cfg.Console(stays.Error())
		case err != nil:
			return fmt.Errorf("forget the used first-boot data: %w", err)
		}
	}
	if err := a.checkpoint(stepForgot); err != nil {
		return err
	}
	m.record.Forgotten = true
	if err := a.state.writeJSON(joinFile, m.record); err != nil {
		return err
	}
	return a.checkpoint(stepDone)
}
