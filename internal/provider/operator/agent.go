package operator

import (
	"context"
	"errors"
	"fmt"
	"net"
	"slices"
	"sync"
	"time"

	"golang.org/x/sync/errgroup"

	"github.com/atollhq/terraform-provider-atoll/internal/api"
	"github.com/atollhq/terraform-provider-atoll/internal/store"
	"github.com/atollhq/terraform-provider-atoll/internal/trust"
)

// Agent returns a client of the agent of a node. Identity and Ticket pin who may answer when they are not empty. A node without endpoints
// is called by way of another one that this run knows.
func (o *Operator) Agent(cluster string, p Peer) (*api.Client, error) {
	return o.agent(cluster, p, nil)
}

// agent is Agent by connections that dial makes; nil is a net.Dialer.
func (o *Operator) agent(cluster string, p Peer, dial func(context.Context, string, string) (net.Conn, error)) (*api.Client, error) {
	key, err := o.Key()
	if err != nil {
		return nil, err
	}
	t := api.Target{Cluster: cluster, Node: p.Name, Endpoints: p.Endpoints, Ticket: p.Ticket, Dial: dial}
	if len(p.Endpoints) == 0 && p.Name != "" && dial == nil {
		t.Endpoints, t.Dial = []string{anotherNode}, o.byOthers(cluster, p.Name)
	}
	if p.Identity != "" {
		pin, err := trust.ParsePublicKey(p.Identity)
		if err != nil {
			return nil, fmt.Errorf("identity of node %q: %w", p.Name, err)
		}
		t.Pin = &pin
	}
	return api.NewOperatorClient(key, t), nil
}

// Look reads and verifies everything that the agent of a node holds, within Patience.Dial.
func (o *Operator) Look(ctx context.Context, cluster, node string, endpoints []string, identity string) (Known, error) {
	ctx, cancel := context.WithTimeout(ctx, o.cfg.Patience.Dial)
	defer cancel()
	key, err := o.Key()
	if err != nil {
		return Known{}, err
	}
	agent, err := o.Agent(cluster, Peer{Name: node, Endpoints: endpoints, Identity: identity})
	if err != nil {
		return Known{}, err
	}
	defer agent.Close()
	records, err := agent.Records(ctx)
	if err != nil {
		return Known{}, err
	}
	return o.memory.readRecords(trust.Root{Cluster: cluster, Key: key.Public()}, records), nil
}

// greeting is how long whoever may be a node has to take a connection: twice the time after which a lost first packet is sent again.
// The seeds of a cluster that is being made are no nodes yet, and a firewall that drops packets keeps silent for as long as one
// waits; whoever takes the connection has Patience.Dial for the rest.
const greeting = 2 * time.Second

// Meet looks at whichever node of the cluster answers at endpoints, within Patience.Dial, and returns what makes it known
// to others and what it holds. Whoever does not take a connection soon does not answer.
func (o *Operator) Meet(ctx context.Context, cluster string, endpoints []string) (Peer, Known, error) {
	ctx, cancel := context.WithTimeout(ctx, o.cfg.Patience.Dial)
	defer cancel()
	agent, err := o.agent(cluster, Peer{Endpoints: endpoints}, (&net.Dialer{Timeout: greeting}).DialContext)
	if err != nil {
		return Peer{}, Known{}, err
	}
	defer agent.Close()
	info, err := agent.Info(ctx)
	if err != nil {
		return Peer{}, Known{}, err
	}
	seen, err := o.Look(ctx, cluster, info.Node, endpoints, info.Identity.String())
	if err != nil {
		return Peer{}, Known{}, err
	}
	return Peer{
		Name: info.Node, Endpoints: endpoints, Identity: info.Identity.String(), Records: seen.Introduction(info.Node),
	}, seen, nil
}

// Status returns the cluster as a node sees it, within Patience.Dial.
func (o *Operator) Status(ctx context.Context, cluster string, node Peer) (api.ClusterStatus, error) {
	ctx, cancel := context.WithTimeout(ctx, o.cfg.Patience.Dial)
	defer cancel()
	agent, err := o.Agent(cluster, node)
	if err != nil {
		return api.ClusterStatus{}, err
	}
	defer agent.Close()
	return agent.Status(ctx)
}

// OutdatedError is returned when an agent holds something newer than what was pushed: another run was faster.
type OutdatedError struct {
	Node    string
	Outcome store.Outcome
}

// Error says which object is newer where.
func (e *OutdatedError) Error() string {
	text := fmt.Sprintf("node %q holds a newer %s: another run changed it at the same time", e.Node, e.Outcome.Key)
	if e.Outcome.Message != "" {
		text += " (" + e.Outcome.Message + ")"
	}
	return text
}

// RefusedError is returned when an agent does not take a record.
type RefusedError struct {
	Node    string
	Outcome store.Outcome
}

// Error says what was refused and why.
func (e *RefusedError) Error() string {
	return fmt.Sprintf("node %q refused %s (%s): %s", e.Node, e.Outcome.Key, e.Outcome.Reason, e.Outcome.Message)
}

// Push gives records to an agent and returns *OutdatedError or *RefusedError for the first one that it does not take.
func Push(ctx context.Context, agent *api.Client, node string, records []store.Record) error {
	outcomes, err := agent.Push(ctx, records)
	if err != nil {
		return err
	}
	for _, out := range outcomes {
		switch out.Result {
		case store.Older, store.Conflict:
			return &OutdatedError{Node: node, Outcome: out}
		case store.Refused:
			return &RefusedError{Node: node, Outcome: out}
		case store.Accepted, store.Unchanged:
		}
	}
	return nil
}

// Introduce makes a node that has just joined and every other node of this run known to each other. What fails is returned
// by node and is no harm: whoever hears of it passes it on.
func (o *Operator) Introduce(ctx context.Context, cluster string, self Peer) map[string]error {
	others := o.Cluster(cluster).Others(self.Name)
	failed := make([]error, len(others))
	var g errgroup.Group
	for i, other := range others {
		g.Go(func() error {
			failed[i] = o.introducePair(ctx, cluster, self, other)
			return nil
		})
	}
	_ = g.Wait() // the functions return nil
	out := map[string]error{}
	for i, err := range failed {
		if err != nil {
			out[others[i].Name] = err
		}
	}
	return out
}

func (o *Operator) introducePair(ctx context.Context, cluster string, a, b Peer) error {
	return errors.Join(o.introduce(ctx, cluster, a, b.Records), o.introduce(ctx, cluster, b, a.Records))
}

// introduce pushes others' records to a node. That it knows something newer already is fine.
func (o *Operator) introduce(ctx context.Context, cluster string, to Peer, records []store.Record) error {
	err := o.TellOnce(ctx, cluster, to, records)
	var outdated *OutdatedError
	if errors.As(err, &outdated) {
		return nil
	}
	return err
}

// TellOnce pushes records to a node in one attempt, within Patience.Dial.
func (o *Operator) TellOnce(ctx context.Context, cluster string, to Peer, records []store.Record) error {
	ctx, cancel := context.WithTimeout(ctx, o.cfg.Patience.Dial)
	defer cancel()
	agent, err := o.Agent(cluster, to)
	if err != nil {
		return err
	}
	defer agent.Close()
	return Push(ctx, agent, to.Name, records)
}

// tellRest is how long Tell goes on once one node has the record on its disk: that one sees to it that the others get it.
const tellRest = 10 * time.Second

// Tell pushes one record to every given node, by name, again and again until each acknowledged it or patience is over.
// It returns the nodes that did not, with the last error. Nodes that this run removes meanwhile are not waited for.
func (o *Operator) Tell(ctx context.Context, cluster string, to map[string][]string, records []store.Record) map[string]error {
	ctx, cancel := context.WithTimeout(ctx, o.cfg.Patience.Farewell)
	defer cancel()
	names := make([]string, 0, len(to))
	for name := range to {
		names = append(names, name)
	}
	slices.Sort(names)
	failed := make([]error, len(names))
	var g errgroup.Group
	var rest sync.Once
	for i, name := range names {
		g.Go(func() error {
			ctx, stop := o.untilRemoved(ctx, cluster, name)
			defer stop()
			for {
				failed[i] = o.TellOnce(ctx, cluster, Peer{Name: name, Endpoints: to[name]}, records)
				if failed[i] == nil && !o.Cluster(cluster).Removed(name) {
					rest.Do(func() { time.AfterFunc(tellRest, cancel) })
				}
				if failed[i] == nil || final(failed[i]) || o.Cluster(cluster).Removed(name) || !Pause(ctx, o.cfg.Patience.Poll) {
					return nil
				}
			}
		})
	}
	_ = g.Wait() // the functions return nil
	out := map[string]error{}
	for i, err := range failed {
		if err != nil && !o.Cluster(cluster).Removed(names[i]) {
			out[names[i]] = err
		}
	}
	return out
}

// untilRemoved returns a context that ends once this run removes the node, and what ends the watch for that.
func (o *Operator) untilRemoved(ctx context.Context, cluster, node string) (context.Context, func()) {
	ctx, cancel := context.WithCancel(ctx)
	var watch sync.WaitGroup
	watch.Go(func() {
		for !o.Cluster(cluster).Removed(node) {
			if !Pause(ctx, 200*time.Millisecond) {
				return
			}
		}
		cancel()
	})
	return ctx, func() {
		cancel()
		watch.Wait()
	}
}

// final tells whether a node has answered and would answer the same again.
func final(err error) bool {
	var refused *RefusedError
	var outdated *OutdatedError
	return errors.As(err, &refused) || errors.As(err, &outdated) || WrongClock(err)
}

// WrongClock tells whether an agent does not take orders because its clock and the operator's are too far apart.
func WrongClock(err error) bool {
	var answered *api.Error
	return errors.As(err, &answered) && (answered.Reason == trust.ReasonExpired || answered.Reason == trust.ReasonNotYetValid)
}

// Pause waits for d and tells whether the context still lives.
func Pause(ctx context.Context, d time.Duration) bool {
	t := time.NewTimer(d)
	defer t.Stop()
	select {
	case <-t.C:
		return true
	case <-ctx.Done():
		return false
	}
}
