package balancer

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"net/netip"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"sync"
	"time"

	"github.com/atollhq/terraform-provider-atoll/internal/host"
)

// gateTable is the gate's own nftables table.
const gateTable = "atoll_proxy"

// gateMark begins the table's comment, which tells by a digest whether the table is the one that would be written.
const gateMark = "atolld "

// The kernel opens the gate by itself after gateLasts, so that nothing that fails can close a port for good: whoever wants it
// closed says so again, which takes effect when gateAgain has passed.
const (
	gateLasts = 2 * time.Minute
	gateAgain = 30 * time.Second
)

// Gate refuses new connections from outside to some of a node's ports, by the kernel's firewall, while connections that are
// there go on. The caller is told at once (RST), since an edge tries another node only when it gets no connection: a proxy
// that accepts and then closes would cost the request.
//
// It is no part of a driver, and not the program's own way of closing a port, because that loses the users inside: the
// proxy goes on to serve the node itself, the mesh and the local network, and nothing has to be started or read again when
// the node becomes unfit or fit. It is there after a restart of the agent or of the proxy as it was before. Its methods may be
// called from several goroutines.
type Gate struct {
	sys host.System

	mu sync.Mutex
	// closed is when the gate was closed last.
	closed time.Time
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
// Without ports nothing of the gate is left. It is to be called again every minute at least for as long as that is to hold.
func (g *Gate) Refuse(ctx context.Context, ports []int, inside []netip.Prefix) error {
	g.mu.Lock()
	defer g.mu.Unlock()
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
	if there && have == mark && time.Since(g.closed) < gateAgain {
		return nil
	}
	if err := g.nft(ctx, rules); err != nil {
		return err
	}
	g.closed = time.Now()
	return nil
}

// portElement is a port in the set of those that are refused, as nft prints it.
var portElement = regexp.MustCompile(`\b(\d+) timeout`)

// Refused returns the ports that the gate refuses now.
func (g *Gate) Refused(ctx context.Context) ([]int, error) {
	text, err := g.list(ctx)
	if err != nil {
		return nil, err
	}
	_, text, _ = strings.Cut(text, "set ports {")
	text, _, _ = strings.Cut(text, "chain ")
	var out []int
	for _, m := range portElement.FindAllStringSubmatch(text, -1) {
		if port, err := strconv.Atoi(m[1]); err == nil {
			out = append(out, port)
		}
	}
	slices.Sort(out)
	return out, nil
}

// gateRules returns the commands that make the table, and its mark. Only the first packet of a connection is looked at, so
// the rules need no connection tracking.
func gateRules(ports []int, inside []netip.Prefix) (rules, mark string) {
	ports = slices.Compact(slices.Sorted(slices.Values(ports)))
	list := make([]string, len(ports))
	for i, p := range ports {
		list[i] = fmt.Sprintf("%d timeout %ds", p, int(gateLasts.Seconds()))
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
	fmt.Fprintf(&b, `	set ports {
		type inet_service
		flags timeout
		elements = { %s }
	}
	chain input {
		type filter hook input priority -10; policy accept;
		tcp dport @ports tcp flags & (fin | syn | rst | ack) == syn jump strangers
	}
	chain strangers {
		iif "lo" return
		ip saddr @inside4 return
		ip6 saddr @inside6 return
		reject with tcp reset
	}
`, strings.Join(list, ", "))
	sum := sha256.Sum256([]byte(b.String()))
	mark = hex.EncodeToString(sum[:16])
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
	text, err := g.list(ctx)
	_, rest, _ := strings.Cut(text, `comment "`+gateMark)
	mark, _, _ = strings.Cut(rest, `"`)
	return mark, text != "", err
}

// list returns the table in the kernel as nft prints it, "" when there is none.
func (g *Gate) list(ctx context.Context) (string, error) {
	out, err := g.sys.Run(ctx, host.Command{Name: "nft", Args: []string{"list", "table", "inet", gateTable}, ReadOnly: true})
	var failed *host.CommandError
	if errors.As(err, &failed) && ctx.Err() == nil {
		// There is no such table, or no nft, without which there is none either.
		return "", nil
	}
	if err != nil {
		return "", fmt.Errorf("look at which connections are refused: %w", err)
	}
	return string(out.Stdout), nil
}
