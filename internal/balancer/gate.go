package balancer

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"net/netip"
	"slices"
	"strconv"
	"strings"

	"github.com/atollhq/terraform-provider-atoll/internal/host"
)

// gateTable is the gate's own nftables table.
const gateTable = "atoll_proxy"

// gateMark begins the table's comment: the ports that are refused, and a digest that tells whether the table is the one that
// would be written.
const gateMark = "atolld refuses "

// Gate refuses new connections from outside to some of a node's ports, by the kernel's firewall, while connections that are
// there go on. The caller is told at once (RST), since an edge tries another node only when it gets no connection: a proxy
// that accepts and then closes would cost the request.
//
// It is no part of a driver, and not the program's own way of closing a port, because that loses the users inside: the
// proxy goes on to serve the node itself, the mesh and the local network, and nothing has to be started or read again when
// the node becomes unfit or fit. It is there after a restart of the agent or of the proxy as it was before.
type Gate struct {
	sys host.System
}

// NewGate returns the gate of a machine.
func NewGate(sys host.System) *Gate { return &Gate{sys: sys} }

// Inside are the addresses that are never refused beside the mesh: those of private networks (RFC 1918, RFC 4193) and of a
// link (RFC 3927, RFC 4291). Public addresses are never theirs.
func Inside() []netip.Prefix {
	var out []netip.Prefix
	for _, p := range []string{"10.0.0.0/8", "169.254.0.0/16", "172.16.0.0/12", "192.168.0.0/16", "fc00::/7", "fe80::/10"} {
		out = append(out, netip.MustParsePrefix(p))
	}
	return out
}

// Refuse makes the gate refuse connections to exactly these ports, but for those from the node itself and from inside.
// Without ports nothing of the gate is left. It may be called many times with the same ports and then changes nothing.
func (g *Gate) Refuse(ctx context.Context, ports []int, inside []netip.Prefix) error {
	have, there, err := g.mark(ctx)
	if err != nil {
		return err
	}
	if len(ports) == 0 {
		if !there {
			return nil
		}
		return g.nft(ctx, "delete table inet "+gateTable+"\n")
	}
	rules, mark := gateRules(ports, inside)
	if there && have == mark {
		return nil
	}
	return g.nft(ctx, rules)
}

// Refused returns the ports that the gate refuses now.
func (g *Gate) Refused(ctx context.Context) ([]int, error) {
	mark, there, err := g.mark(ctx)
	if err != nil || !there {
		return nil, err
	}
	list, _, _ := strings.Cut(mark, " ")
	var out []int
	for text := range strings.SplitSeq(list, ",") {
		if port, err := strconv.Atoi(text); err == nil {
			out = append(out, port)
		}
	}
	return out, nil
}

// gateRules returns the commands that make the table, and its mark. Only the first packet of a connection is looked at, so
// the rules need no connection tracking.
func gateRules(ports []int, inside []netip.Prefix) (rules, mark string) {
	ports = slices.Compact(slices.Sorted(slices.Values(ports)))
	list := make([]string, len(ports))
	for i, p := range ports {
		list[i] = strconv.Itoa(p)
	}
	families := map[bool][]string{}
	for _, p := range slices.SortedFunc(slices.Values(inside), func(a, b netip.Prefix) int { return a.Addr().Compare(b.Addr()) }) {
		families[p.Addr().Is4()] = append(families[p.Addr().Is4()], p.Masked().String())
	}
	var b strings.Builder
	set := func(name, kind string, elements []string) {
		fmt.Fprintf(&b, "\tset %s {\n\t\ttype %s\n\t\tflags interval\n\t\tauto-merge\n", name, kind)
		if len(elements) > 0 {
			fmt.Fprintf(&b, "\t\telements = { %s }\n", strings.Join(elements, ", "))
		}
		b.WriteString("\t}\n")
	}
	set("inside4", "ipv4_addr", families[true])
	set("inside6", "ipv6_addr", families[false])
	fmt.Fprintf(&b, `	chain input {
		type filter hook input priority -10; policy accept;
		tcp dport { %s } tcp flags & (fin | syn | rst | ack) == syn jump strangers
	}
	chain strangers {
		iif "lo" return
		ip saddr @inside4 return
		ip6 saddr @inside6 return
		reject with tcp reset
	}
`, strings.Join(list, ", "))
	sum := sha256.Sum256([]byte(b.String()))
	mark = strings.Join(list, ",") + " " + hex.EncodeToString(sum[:8])
	// One transaction: there is no moment in which the ports are open.
	return fmt.Sprintf("table inet %s\ndelete table inet %s\ntable inet %s {\n\tcomment %q\n%s}\n",
		gateTable, gateTable, gateTable, gateMark+mark, b.String()), mark
}

func (g *Gate) nft(ctx context.Context, script string) error {
	if _, err := g.sys.Run(ctx, host.Command{Name: "nft", Args: []string{"-f", "-"}, Stdin: []byte(script)}); err != nil {
		return fmt.Errorf("refuse connections while this node is unfit: %w", err)
	}
	return nil
}

// mark returns the mark of the table in the kernel, and whether there is a table.
func (g *Gate) mark(ctx context.Context) (mark string, there bool, err error) {
	out, err := g.sys.Run(ctx, host.Command{Name: "nft", Args: []string{"list", "table", "inet", gateTable}, ReadOnly: true})
	var failed *host.CommandError
	if errors.As(err, &failed) {
		// There is no such table, or no nft, without which there is none either.
		return "", false, nil
	}
	if err != nil {
		return "", false, fmt.Errorf("look at which connections are refused: %w", err)
	}
	_, rest, _ := strings.Cut(string(out.Stdout), `comment "`+gateMark)
	mark, _, _ = strings.Cut(rest, `"`)
	return mark, len(out.Stdout) > 0, nil
}
