package agent

import (
	"context"
	"errors"
	"fmt"
	"io"
	"maps"
	"net"
	"slices"
	"strconv"
	"time"

	"github.com/atollhq/terraform-provider-atoll/internal/api"
	"github.com/atollhq/terraform-provider-atoll/internal/replication"
	"github.com/atollhq/terraform-provider-atoll/internal/spec"
	"github.com/atollhq/terraform-provider-atoll/internal/topology"
)

// filesStep keeps this node's sides of pairs.
type filesStep struct {
	s *session
}

func (filesStep) name() string { return "files" }

func (f filesStep) reconcile(ctx context.Context, in input) error {
	// While objects are missing, or others do not believe this node, what is there stays.
	if in.view == nil || !in.admitted {
		return nil
	}
	sides := map[spec.ReplicationDriver][]replication.Pair{}
	var problems []error
	for _, p := range in.view.Pairs {
		if _, known := f.s.a.replications[p.Driver]; !known {
			problems = append(problems, fmt.Errorf("pair %q: this agent (version %s) does not know driver %q: update it", p.Name, f.s.a.cfg.Version, p.Driver))
			continue
		}
		sides[p.Driver] = append(sides[p.Driver], f.side(p))
	}
	for _, name := range slices.Sorted(maps.Keys(f.s.a.replications)) {
		if err := f.s.a.replications[name].Apply(ctx, sides[name]); err != nil {
			problems = append(problems, err)
		}
	}
	return errors.Join(problems...)
}

func (f filesStep) side(p topology.Pair) replication.Pair {
	side := replication.Pair{
		Name: p.Name, Node: f.s.m.record.Node, Peer: p.Peer.Node, Leads: p.Leads(), Path: p.Self.Path, PeerPath: p.Peer.Path,
		Owner: p.Owner, Group: p.Group, Exclude: p.Exclude, Alternates: p.Alternates(), Limits: p.Limits, After: p.After,
		Dial: func(ctx context.Context) (io.ReadWriteCloser, error) {
			return f.s.openStream(ctx, p.Name, (*api.Client).Stream)
		},
	}
	if p.Cold != nil {
		side.Cold = &replication.Cold{
			PairCold: *p.Cold, Path: p.Self.ColdPath,
			Dial: func(ctx context.Context) (io.ReadWriteCloser, error) {
				return f.s.openStream(ctx, p.Name, (*api.Client).ColdStream)
			},
		}
	}
	return side
}

// streamPatience is how long what was sent on a stream may go without a word from the other node until the stream is given up.
const streamPatience = 20 * time.Second

// openStream opens a stream to the other node's side of a pair.
func (s *session) openStream(ctx context.Context, name string, open func(*api.Client, context.Context, string) (io.ReadWriteCloser, error)) (io.ReadWriteCloser, error) {
	client, p, err := s.otherOf(name)
	if err != nil {
		return nil, fmt.Errorf("open a stream of pair %q: %w", name, err)
	}
	stream, err := open(client, ctx, name)
	if err != nil {
		return nil, err
	}
	return s.pairs.Limit(name, stream, p.Limits.Bandwidth), nil
}

// askCanary asks the other node of a pair which canary of this node has arrived there.
func (s *session) askCanary(ctx context.Context, name, after string) (nonce string, err error) {
	client, _, err := s.otherOf(name)
	if err != nil {
		return "", fmt.Errorf("ask for a canary of pair %q: %w", name, err)
	}
	defer client.Close()
	return client.Canary(ctx, name, after)
}

// otherOf returns a client of the agent of the other node of a pair: over the mesh, of the identity that is admitted now.
func (s *session) otherOf(name string) (*api.Client, topology.Pair, error) {
	in := s.input()
	if in.view == nil {
		return nil, topology.Pair{}, errors.New("the objects of the cluster are missing")
	}
	p, ok := in.view.Pair(name)
	member, admitted := in.snapshot.Members[p.Peer.Node]
	if !ok || !admitted {
		return nil, p, errors.New("its other node is no admitted member")
	}
	return s.client(api.Target{
		Cluster: in.snapshot.ClusterName, Node: p.Peer.Node, Pin: &member.Identity,
		Endpoints: []string{net.JoinHostPort(s.a.cfg.MeshBind(p.Peer.MeshAddress).String(), strconv.Itoa(p.Peer.APIPort))},
		Dial:      (&net.Dialer{Control: giveUpSilence, KeepAliveConfig: keepAlive()}).DialContext,
	}), p, nil
}

// keepAlive finds out about a peer that is gone while nothing is to be sent.
func keepAlive() net.KeepAliveConfig {
	return net.KeepAliveConfig{Enable: true, Idle: streamPatience / 2, Interval: streamPatience / 4, Count: 2}
}
