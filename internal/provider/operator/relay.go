package operator

import (
	"context"
	"errors"
	"fmt"
	"net"
	"slices"
	"time"
)

// anotherNode stands for the address of a node that has none.
const anotherNode = "by way of another node"

// relayTry is how long one node may take to pass a call on, relayTries how many are asked at the same time.
const (
	relayTry   = 4 * time.Second
	relayTries = 4
)

// errNoRelay is what a node without an address has when no other node is known.
var errNoRelay = errors.New("it has no address at which it could be called, and this run knows no other node of the cluster that could pass the call on")

// byOthers returns what connects to a node that nobody can call: some other node of the cluster passes the call on, over the mesh. Who
// answers at the end proves that it is the node, as everybody does.
func (o *Operator) byOthers(cluster, node string) func(context.Context, string, string) (net.Conn, error) {
	return func(ctx context.Context, _, _ string) (net.Conn, error) {
		relays := o.relays(cluster, node)
		if len(relays) == 0 {
			return nil, errNoRelay
		}
		ctx, cancel := context.WithTimeout(ctx, relayTry)
		defer cancel()
		type answer struct {
			conn net.Conn
			err  error
		}
		answers := make(chan answer, len(relays))
		for _, p := range relays {
			go func() {
				conn, err := o.relay(ctx, cluster, p, node)
				answers <- answer{conn, err}
			}()
		}
		var errs []error
		for i := range relays {
			a := <-answers
			if a.err != nil {
				errs = append(errs, a.err)
				continue
			}
			go func() {
				for range len(relays) - i - 1 {
					if late := <-answers; late.conn != nil {
						_ = late.conn.Close()
					}
				}
			}()
			return a.conn, nil
		}
		return nil, errors.Join(errs...)
	}
}

// relays returns some nodes that might pass a call on.
func (o *Operator) relays(cluster, node string) []Peer {
	reg := o.Cluster(cluster)
	out := slices.DeleteFunc(reg.Others(node), func(p Peer) bool { return len(p.Endpoints) == 0 })
	for name, endpoints := range reg.Heard(node) {
		if len(endpoints) > 0 {
			out = append(out, Peer{Name: name, Endpoints: endpoints})
		}
	}
	return out[:min(relayTries, len(out))]
}

func (o *Operator) relay(ctx context.Context, cluster string, by Peer, node string) (net.Conn, error) {
	agent, err := o.Agent(cluster, Peer{Name: by.Name, Endpoints: by.Endpoints, Identity: by.Identity})
	if err != nil {
		return nil, fmt.Errorf("by way of node %q: %w", by.Name, err)
	}
	// The connection that is passed on is none of the client's any more.
	defer agent.Close()
	return agent.Relay(ctx, node)
}
