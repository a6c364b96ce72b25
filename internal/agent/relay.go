package agent

import (
	"context"
	"fmt"
	"net"
	"net/http"
	"strconv"

	"github.com/atollhq/terraform-provider-atoll/internal/api"
)

var _ api.Relayer = backend{}

// Relay implements api.Relayer: the operator's call to a node that has no public address goes by way of this one.
func (b backend) Relay(ctx context.Context, node string) (net.Conn, error) {
	snapshot := b.s.store.Snapshot()
	described, there := snapshot.Nodes[node]
	if _, member := snapshot.Members[node]; !member || !there || node == b.s.m.record.Node {
		return nil, &api.Error{
			StatusCode: http.StatusNotFound, Reason: api.ReasonNoSuchNode,
			Message: fmt.Sprintf("node %q knows no other member %q of cluster %q", b.s.m.record.Node, node, b.s.m.record.Cluster),
		}
	}
	at := net.JoinHostPort(b.s.a.cfg.MeshBind(described.MeshAddress).String(), strconv.Itoa(b.s.ports(snapshot.Cluster).API))
	return (&net.Dialer{}).DialContext(ctx, "tcp", at)
}
