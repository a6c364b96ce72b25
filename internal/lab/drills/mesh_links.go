//go:build linux

package drills

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/atollhq/terraform-provider-atoll/internal/api"
	"github.com/atollhq/terraform-provider-atoll/internal/spec"
)

func healMesh(ctx context.Context, f *Field) error { return f.HealAll(ctx) }

// meshCut takes the line between two of three nodes.
func meshCut(c *Cluster) Drill {
	e := &echoes{from: meshA, to: meshC}
	return Drill{
		Name: "mesh/cut", Cluster: c, Traffic: e.begin, Heal: healMesh,
		Proves: "when the line between two nodes is cut, their packets go by the third within 2 s, and the link is called cut",
		Inject: func(ctx context.Context, f *Field) error { return f.Cut(ctx, meshA, meshC, false) },
		Settle: func(ctx context.Context, f *Field) error { return reported(ctx, f, meshC, spec.LinkCut, "") },
		Verdict: func(_ context.Context, f *Field, o Outcome) error {
			return errors.Join(outageWithin(o, 2*time.Second), e.promise(f.Injected, 0.96, 3))
		},
	}
}

// meshOneWay takes one direction of it.
func meshOneWay(c *Cluster) Drill {
	e := &echoes{from: meshA, to: meshC}
	return Drill{
		Name: "mesh/one-way", Cluster: c, Traffic: e.begin, Heal: healMesh,
		Proves: "when one direction between two nodes is cut, their packets go by the third within 2 s, and the direction is named",
		Inject: func(ctx context.Context, f *Field) error { return f.Cut(ctx, meshA, meshC, true) },
		Settle: func(ctx context.Context, f *Field) error {
			if err := reported(ctx, f, meshC, spec.LinkOneWay, ""); err != nil {
				return err
			}
			status, _, err := f.Status(ctx)
			if err != nil {
				return err
			}
			there, back := status.Links[spec.LinkName(meshA, meshC)].There, status.Links[spec.LinkName(meshA, meshC)].Back
			if there.Measured == nil || !there.Measured.Silent || back.Measured != nil && back.Measured.Silent {
				return fmt.Errorf("the direction is not told: there %+v, back %+v", there.Measured, back.Measured)
			}
			return nil
		},
		Verdict: func(_ context.Context, f *Field, o Outcome) error {
			return errors.Join(outageWithin(o, 3*time.Second), e.promise(f.Injected, 0.95, 4))
		},
	}
}

func outageWithin(o Outcome, limit time.Duration) error {
	if o.Outage > limit {
		return fmt.Errorf("an echo was lost %s after the fault, promised are %s", seconds(o.Outage), seconds(limit))
	}
	return nil
}

// meshLossy makes the line lose packets in both directions.
func meshLossy(c *Cluster, percent int) Drill {
	e := &echoes{from: meshA, to: meshC}
	return Drill{
		Name: fmt.Sprintf("mesh/loss-%d", percent), Cluster: c, Traffic: e.begin, Heal: healMesh,
		Proves: fmt.Sprintf("when the line between two nodes loses %d %% of the packets each way, theirs go by the third within 5 s: 99 %% of those of the next minute arrive", percent),
		Inject: func(ctx context.Context, f *Field) error { return f.Loss(ctx, meshA, meshC, percent, false) },
		Settle: func(ctx context.Context, f *Field) error {
			if err := reported(ctx, f, meshC, spec.LinkLossy, ""); err != nil {
				return err
			}
			pause(ctx, time.Until(f.Injected.Add(62*time.Second)))
			return nil
		},
		Verdict: func(_ context.Context, f *Field, _ Outcome) error { return e.promise(f.Injected, 0.98, 6) },
	}
}

// meshFlapping makes the line lose packets for ten seconds of every twenty.
func meshFlapping(c *Cluster) Drill {
	e := &echoes{from: meshA, to: meshC}
	left := map[string]time.Time{}
	return Drill{
		Name: "mesh/loss-comes-and-goes", Cluster: c, Traffic: e.begin, Heal: healMesh,
		Proves: "loss that comes and goes every ten seconds is left once: the link is not taken up again in between",
		Inject: func(ctx context.Context, f *Field) error { return f.Loss(ctx, meshA, meshC, 40, false) },
		Settle: func(ctx context.Context, f *Field) error {
			for round := range 5 {
				pause(ctx, 10*time.Second)
				if err := f.HealAll(ctx); err != nil {
					return err
				}
				if round == 0 {
					if err := steeredBy(ctx, f, left); err != nil {
						return err
					}
				}
				pause(ctx, 10*time.Second)
				if err := f.Loss(ctx, meshA, meshC, 40, false); err != nil {
					return err
				}
			}
			now := map[string]time.Time{}
			if err := steeredBy(ctx, f, now); err != nil {
				return err
			}
			for node, since := range left {
				if !now[node].Equal(since) {
					return fmt.Errorf("%s left the link at %s and again at %s", node, since, now[node])
				}
			}
			return f.HealAll(ctx)
		},
		Verdict: func(_ context.Context, f *Field, _ Outcome) error { return e.promise(f.Injected, 0.97, 7) },
	}
}

// steeredBy notes which ends leave the link alone, and since when.
func steeredBy(ctx context.Context, f *Field, since map[string]time.Time) error {
	return f.Await(ctx, "an end leaves the link alone", 30*time.Second, func(ctx context.Context) error {
		status, _, err := f.Status(ctx)
		if err != nil {
			return err
		}
		for _, r := range status.Links[spec.LinkName(meshA, meshC)].Reports {
			if r.Steering != nil && r.Steering.Away {
				since[r.Node] = r.Steering.Since
			}
		}
		if len(since) == 0 {
			return errors.New("none does")
		}
		return nil
	})
}

// filter makes a node's own firewall drop what arrives from an address, by rules after "ip saddr ADDRESS".
func filter(ctx context.Context, f *Field, node, from, rule string) error {
	_, err := f.Exec(ctx, node, "sh", "-c", fmt.Sprintf("nft 'add table inet drill; add chain inet drill input { type filter hook input priority -300; }; add rule inet drill input ip saddr %s %s drop'", from, rule))
	return err
}

func unfilter(ctx context.Context, f *Field) error {
	var errs []error
	for _, node := range []string{meshA, meshC} {
		_, err := f.Exec(ctx, node, "sh", "-c", "nft add table inet drill; nft delete table inet drill")
		errs = append(errs, err)
	}
	return errors.Join(errs...)
}

// filterBoth does it at both ends, each for the other.
func filterBoth(ctx context.Context, f *Field, rule string) error {
	for _, pair := range [][2]string{{meshA, meshC}, {meshC, meshA}} {
		status, _, err := f.Status(ctx)
		if err != nil {
			return err
		}
		addresses := status.Nodes[pair[1]].Addresses
		if len(addresses) == 0 {
			return fmt.Errorf("%s has no address", pair[1])
		}
		if err := filter(ctx, f, pair[0], addresses[0], rule); err != nil {
			return err
		}
	}
	f.Injected = time.Now()
	return nil
}

// meshNoUDP blocks UDP between two nodes and nothing else.
func meshNoUDP(c *Cluster) Drill {
	e := &echoes{from: meshA, to: meshC}
	return Drill{
		Name: "mesh/no-udp", Cluster: c, Traffic: e.begin, Heal: unfilter,
		Proves: "when a firewall lets in TCP but no UDP, packets arrive again within 5 s, and the firewall's side and port are named",
		Inject: func(ctx context.Context, f *Field) error { return filterBoth(ctx, f, "meta l4proto udp") },
		Settle: func(ctx context.Context, f *Field) error {
			return reported(ctx, f, meshC, spec.LinkCut, spec.CauseFilteredPort)
		},
		Verdict: func(_ context.Context, f *Field, _ Outcome) error {
			return e.promise(f.Injected, 0.9, 6)
		},
	}
}

// meshSmall drops packets larger than 1,280 bytes without a word.
func meshSmall(c *Cluster) Drill {
	e := &echoes{from: meshA, to: meshC, size: 1300}
	return Drill{
		Name: "mesh/mtu-1280", Cluster: c, Traffic: e.begin, Heal: unfilter,
		Proves: "when the line takes no packets above 1,280 bytes and says nothing, large ones arrive again, and the size is named",
		Inject: func(ctx context.Context, f *Field) error { return filterBoth(ctx, f, "ip length > 1280") },
		Settle: func(ctx context.Context, f *Field) error {
			return f.Measure(ctx, "the link's size is named", 4*time.Minute, func(ctx context.Context) error {
				status, _, err := f.Status(ctx)
				if err != nil {
					return err
				}
				for _, r := range status.Links[spec.LinkName(meshA, meshC)].Reports {
					if r.Condition == spec.LinkMTU {
						f.Note("%s says: %s", r.Node, r.Message)
						return nil
					}
				}
				return fmt.Errorf("it is said of it: %+v", status.Links[spec.LinkName(meshA, meshC)].Reports)
			})
		},
	}
}

// meshNoWay takes the third node while one direction between the two others is cut: nothing can go by anybody then.
func meshNoWay(c *Cluster) Drill {
	return Drill{
		Name: "mesh/no-way-left", Cluster: c,
		Proves: "when the third node dies while the line between the two others works in one direction only, the direction that does not is named, and all is well when it is back",
		Inject: func(ctx context.Context, f *Field) error {
			if err := f.Cut(ctx, meshA, meshB, true); err != nil {
				return err
			}
			if err := reported(ctx, f, meshB, spec.LinkOneWay, ""); err != nil {
				return err
			}
			f.Injected = time.Now()
			return f.Kill(ctx, meshC)
		},
		Settle: func(ctx context.Context, f *Field) error {
			return f.Measure(ctx, "the pair that is left is called down in that direction", time.Minute, func(ctx context.Context) error {
				status, _, err := f.Status(ctx)
				if err != nil {
					return err
				}
				link := status.Links[spec.LinkName(meshA, meshB)]
				if link.There.State == api.UpDirect || link.There.State == api.UpIndirect {
					return fmt.Errorf("it is up: %+v", link.There)
				}
				for _, r := range link.Reports {
					if r.Message != "" {
						f.Note("%s says: %s", r.Node, r.Message)
						return nil
					}
				}
				return fmt.Errorf("nobody says why: %+v", link.Reports)
			})
		},
		Heal: func(ctx context.Context, f *Field) error {
			return errors.Join(f.HealAll(ctx), f.PowerOn(ctx, meshC))
		},
	}
}
