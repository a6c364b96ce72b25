//go:build linux

package drills

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"time"

	"github.com/atollhq/terraform-provider-atoll/internal/api"
	"github.com/atollhq/terraform-provider-atoll/internal/spec"
)

// filter gives a node a packet filter of its operator's, beside Atoll's: the rules of one chain at a hook. "$peer" in them stands for
// another node's address.
func filter(ctx context.Context, f *Field, node, peer, hook, rules string) error {
	status, _, err := f.Status(ctx)
	if err != nil {
		return err
	}
	addresses := status.Nodes[peer].Addresses
	if len(addresses) == 0 {
		return fmt.Errorf("%s has no address", peer)
	}
	rules = strings.ReplaceAll(rules, "$peer", addresses[0])
	_, err = f.Exec(ctx, node, "nft", fmt.Sprintf("table inet drill { chain %[1]s { type filter hook %[1]s priority 0; %[2]s; }; }", hook, rules))
	return err
}

// filterBoth does it at both ends of a line, each for the other. The fault is when both have it.
func (l line) filterBoth(ctx context.Context, f *Field, rules string) error {
	if err := errors.Join(filter(ctx, f, l.from, l.to, "input", rules), filter(ctx, f, l.to, l.from, "input", rules)); err != nil {
		return err
	}
	f.Injected = time.Now()
	return nil
}

// unfilter takes the filters back.
func (l line) unfilter(ctx context.Context, f *Field) error {
	var errs []error
	for _, node := range []string{l.from, l.to} {
		_, err := f.Exec(ctx, node, "sh", "-c", "nft add table inet drill; nft delete table inet drill")
		errs = append(errs, err)
	}
	return errors.Join(errs...)
}

// noUDP blocks UDP between two nodes and nothing else.
func (m *meshOf) noUDP(l line) Drill {
	e := &echoes{line: l}
	return Drill{
		Name: m.prefix + "no-udp", Cluster: m.Cluster, Traffic: e.begin, Heal: l.unfilter,
		Proves: "when firewalls let in TCP but no UDP, packets arrive again within 2 s, and the firewall's side and port are named",
		Inject: func(ctx context.Context, f *Field) error {
			return l.filterBoth(ctx, f, "ip saddr $peer meta l4proto udp drop")
		},
		Settle: func(ctx context.Context, f *Field) error {
			defer aMinute(ctx, f)
			return l.reported(ctx, f, spec.LinkCut, spec.CauseFilteredPort, "UDP port 655 of")
		},
		Verdict: func(_ context.Context, f *Field, _ Outcome) error { return e.promise(f.Injected, 0.96, 3) },
	}
}

// small drops packets larger than 1,280 bytes without a word.
func (m *meshOf) small(l line) Drill {
	e := &echoes{line: l, size: 1300}
	return Drill{
		Name: m.prefix + "mtu-1280", Cluster: m.Cluster, Traffic: e.begin, Heal: l.unfilter,
		Proves: "when the way takes no packets above 1,280 bytes and says nothing, large ones arrive again, and the size is named",
		Inject: func(ctx context.Context, f *Field) error {
			return l.filterBoth(ctx, f, "ip saddr $peer ip length > 1280 drop")
		},
		Settle: func(ctx context.Context, f *Field) error {
			return l.reported(ctx, f, spec.LinkMTU, "", "about 1280 bytes")
		},
	}
}

// ownFirewall gives a node a filter that answers what it has asked, and lets in the mesh's port of one node no more: the mesh works on,
// until it has to be made anew (R24).
func (m *meshOf) ownFirewall(l line) Drill {
	e := &echoes{line: l}
	return Drill{
		Name: m.prefix + "own-firewall", Cluster: m.Cluster, Traffic: e.begin, Heal: l.unfilter,
		Proves: "a node whose own firewall lets another one in as an answer only is named with pair, port and side, while nothing is lost and the link is used on",
		Inject: func(ctx context.Context, f *Field) error {
			return filter(ctx, f, l.to, l.from, "input", "ct state established,related accept; ip saddr $peer udp dport 655 drop")
		},
		Settle: func(ctx context.Context, f *Field) error {
			if err := l.reported(ctx, f, spec.LinkOneWay, spec.CauseFilteredPort, fmt.Sprintf("packets of %s do not arrive at UDP port 655 of %s", l.from, l.to), "open UDP"); err != nil {
				return err
			}
			if err := l.warned(ctx, f, true); err != nil {
				return err
			}
			status, _, err := f.Status(ctx)
			if err != nil {
				return err
			}
			link, _, _ := l.view(status)
			for _, r := range link.Reports {
				if r.Steering != nil && r.Steering.Away {
					return fmt.Errorf("a link that works is left: %s", described(link))
				}
			}
			aMinute(ctx, f)
			return l.direct(ctx, f)
		},
		Verdict: func(_ context.Context, f *Field, _ Outcome) error {
			// Those on their way when the filter began to know of connections may be lost.
			if n := e.missing(f.Injected); n > 5 {
				return fmt.Errorf("%d echoes were lost", n)
			}
			return nil
		},
	}
}

// warned waits until status names the direction that does not work as worth a look. The cluster is healthy as long as the mesh has its
// direct link.
func (l line) warned(ctx context.Context, f *Field, direct bool) error {
	return f.Await(ctx, "what does not work is worth a look", time.Minute, func(ctx context.Context) error {
		status, healthy, err := f.Status(ctx)
		if err != nil {
			return err
		}
		if words := strings.Join(status.Warnings, "; "); healthy != direct || !strings.Contains(words, "UDP port 655 of "+l.to) {
			return fmt.Errorf("healthy %t: %q, worth a look: %q", healthy, status.Reasons, words)
		}
		return nil
	})
}

// ownFirewallOut gives a node a filter that does not let it send to another.
func (m *meshOf) ownFirewallOut(l line) Drill {
	e := &echoes{line: l}
	return Drill{
		Name: m.prefix + "own-firewall-out", Cluster: m.Cluster, Traffic: e.begin, Heal: l.unfilter,
		Proves: "a node whose own firewall does not let it send to another's port is named as the one to be mended, and packets go by the third within 2 s",
		Inject: func(ctx context.Context, f *Field) error {
			return filter(ctx, f, l.from, l.to, "output", "ip daddr $peer udp dport 655 drop")
		},
		Settle: func(ctx context.Context, f *Field) error {
			defer aMinute(ctx, f)
			return l.reported(ctx, f, spec.LinkOneWay, spec.CauseOwnFirewall, l.from+" cannot send to", "UDP port 655 of "+l.to)
		},
		Verdict: func(_ context.Context, f *Field, _ Outcome) error { return e.promise(f.Injected, 0.96, 3) },
	}
}

// trap takes the third node while the way between the two others works in one direction only (R24). It is told before it happens, and
// nothing can go by anybody afterwards.
func (m *meshOf) trap(l line) Drill {
	return Drill{
		Name: m.prefix + "no-way-left", Cluster: m.Cluster,
		Proves: "when the third node dies while the way between the two others works in one direction only, that was told before, the direction is named, and all is well when it is back",
		Inject: func(ctx context.Context, f *Field) error {
			if err := f.Cut(ctx, l.from, l.to, true); err != nil {
				return err
			}
			if err := l.reported(ctx, f, spec.LinkOneWay, "", "UDP port 655 of "+l.to); err != nil {
				return err
			}
			if err := l.warned(ctx, f, false); err != nil {
				return err
			}
			f.Injected = time.Now()
			return f.Kill(ctx, l.third)
		},
		Settle: func(ctx context.Context, f *Field) error {
			return f.Measure(ctx, "the direction that is left without a way is called down", time.Minute, func(ctx context.Context) error {
				status, _, err := f.Status(ctx)
				if err != nil {
					return err
				}
				link, there, _ := l.view(status)
				if there.State == api.UpDirect || there.State == api.UpIndirect {
					return fmt.Errorf("it is up: %s", described(link))
				}
				// The two do not hear of each other any more: each is asked itself.
				for _, ends := range [][2]string{{l.from, l.to}, {l.to, l.from}} {
					report, err := f.Report(ctx, edgeClusterName, ends[0])
					if err != nil {
						return err
					}
					if s := report.Links[ends[1]].Steering; s != nil && s.Away {
						return fmt.Errorf("%s leaves the only link that it has: %+v", ends[0], *s)
					}
				}
				for _, reason := range status.Reasons {
					if strings.Contains(reason, l.from) && strings.Contains(reason, l.to) {
						f.Note("status says: %s", reason)
						return nil
					}
				}
				return fmt.Errorf("nothing names the pair: %q", status.Reasons)
			})
		},
		Heal: func(ctx context.Context, f *Field) error { return errors.Join(f.HealAll(ctx), f.PowerOn(ctx, l.third)) },
	}
}
