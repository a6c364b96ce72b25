package tinc

import (
	"context"
	"fmt"
	"net/netip"
	"slices"
	"strings"

	"github.com/atollhq/terraform-provider-atoll/internal/host"
)

// tinc has no way to do without one link: it prefers a direct connection, however bad, and fewest hops. So the driver's table
// refuses the peer's packets of the mesh: TCP with a reset in both directions, which ends the connection on both ends as soon as either has
// something to say, and tinc's UDP, which always comes from tinc's own port, silently. Whoever loses a connection tells all others in the same moment, and
// packets go by them. Tincd goes on dialing the peer every few seconds, which fails at once and costs nothing. Measurements come from another port and
// pass.
//
// SIGALRM makes tincd do now what it would do later: ask over every connection whether the other end is there, which ends the one that is
// refused, and dial the peers that it has no connection to.
const (
	away4 = "away_public4"
	away6 = "away_public6"
	// holdAlone is how long the kernel refuses a peer when nobody says it again.
	holdAlone = "60s"
)

// awayRules are the two sets, and the rules for both chains.
func awayRules(port int) (sets, output, input string) {
	for _, family := range []struct{ set, kind, match string }{{away4, "ipv4_addr", "ip"}, {away6, "ipv6_addr", "ip6"}} {
		sets += fmt.Sprintf("\tset %s {\n\t\ttype %s\n\t\tflags timeout\n\t}\n", family.set, family.kind)
		// A reset must pass: it is what ends the connection.
		output += fmt.Sprintf("\t\t%s daddr @%s tcp dport %d tcp flags & rst == 0 reject with tcp reset\n", family.match, family.set, port)
		output += fmt.Sprintf("\t\t%s daddr @%s tcp sport %d tcp flags & rst == 0 reject with tcp reset\n", family.match, family.set, port)
		output += fmt.Sprintf("\t\t%s daddr @%s udp sport %d drop\n", family.match, family.set, port)
		input += fmt.Sprintf("\t\t%s saddr @%s tcp dport %d tcp flags & rst == 0 reject with tcp reset\n", family.match, family.set, port)
		input += fmt.Sprintf("\t\t%s saddr @%s tcp sport %d tcp flags & rst == 0 reject with tcp reset\n", family.match, family.set, port)
		input += fmt.Sprintf("\t\t%s saddr @%s udp sport %d drop\n", family.match, family.set, port)
	}
	return sets, output, input
}

// Steer implements mesh.Steerer.
func (d *Driver) Steer(ctx context.Context, away []string) error {
	d.mu.Lock()
	defer d.mu.Unlock()
	if d.view == nil {
		return nil
	}
	away = slices.Sorted(slices.Values(away))
	changed := !slices.Equal(away, d.away)
	if !changed && len(away) == 0 {
		return nil
	}
	if err := d.run(ctx, host.Command{Name: "nft", Args: []string{"-f", "-"}, Stdin: []byte(d.awayElements(away))}); err != nil {
		return fmt.Errorf("leave the direct links to %s: %w", strings.Join(away, ", "), err)
	}
	d.away = away
	if !changed {
		return nil
	}
	d.log.Info("direct links that the mesh does without", "peers", away)
	unit, err := d.sys.Units().Status(ctx, unitName)
	if err != nil || !unit.Active {
		return err
	}
	if err := d.awaitReady(ctx); err != nil {
		return err
	}
	if err := d.sys.Units().Signal(ctx, unitName, "ALRM"); err != nil {
		return fmt.Errorf("make tincd look at its connections: %w", err)
	}
	return nil
}

// awayElements returns the commands that put exactly these peers into the sets, for a while. An address that is also another peer's is
// left out: that peer's link would be refused too.
func (d *Driver) awayElements(away []string) string {
	uses := map[netip.Addr]int{}
	for _, p := range d.view.Peers {
		for _, a := range d.resolver.Addresses(p) {
			uses[a.WithZone("")]++
		}
	}
	var b strings.Builder
	fmt.Fprintf(&b, "flush set inet %s %s\nflush set inet %s %s\n", tableName, away4, tableName, away6)
	for _, name := range away {
		p, known := d.view.Peer(name)
		if !known {
			continue
		}
		for _, a := range d.resolver.Addresses(p) {
			a = a.WithZone("")
			if uses[a] > 1 {
				d.log.Warn("a link cannot be left: another node has the same public address", "peer", name, "address", a)
				continue
			}
			set := away4
			if a.Is6() {
				set = away6
			}
			fmt.Fprintf(&b, "add element inet %s %s { %s timeout %s }\n", tableName, set, a, holdAlone)
		}
	}
	return b.String()
}
