//go:build linux

package drills

import (
	"context"
	"errors"
	"time"
)

// edgeProxyKilled kills the proxy in front of one node's application, which its service starts again after a second.
func edgeProxyKilled(c *Cluster) Drill {
	v := &visitors{}
	const node = "sg1"
	return Drill{
		Name: "edge/proxy-killed", Proves: "when a node's proxy is killed, at most the requests that it was at fail",
		Cluster: c, Traffic: v.begin,
		Inject: func(ctx context.Context, f *Field) error {
			return on(ctx, f, node, "systemctl", "kill", "--signal=KILL", "atoll-haproxy.service")
		},
		Verdict: func(context.Context, *Field, Outcome) error {
			return errors.Join(v.servedAfter(time.Second), v.atMost(5))
		},
	}
}

// edgeAgentKilled kills the agent of one node, which its service starts again.
func edgeAgentKilled(c *Cluster) Drill {
	v := &visitors{}
	const node = "hk1"
	return Drill{
		Name: "edge/agent-killed", Proves: "when a node's agent is killed, nobody who is served notices, and the node is not taken for dead",
		Cluster: c, Traffic: v.begin,
		Inject: func(ctx context.Context, f *Field) error {
			return on(ctx, f, node, "systemctl", "kill", "--signal=KILL", "atolld.service")
		},
		Settle:  func(ctx context.Context, f *Field) error { return stays(ctx, f) },
		Verdict: func(context.Context, *Field, Outcome) error { return v.nobody() },
	}
}
