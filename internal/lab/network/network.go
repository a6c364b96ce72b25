//go:build linux

package network

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net/netip"
	"regexp"
	"slices"
	"strings"
	"sync"
)

// Network is the internet of one lab. Its methods are safe for concurrent use.
type Network struct {
	lab string
	log *slog.Logger

	mu          sync.Mutex
	plan        *plan
	hosts       map[string]*host
	cables      int
	impairments []Impairment
}

// host is one attached machine. Its namespace exists only while it has power.
type host struct {
	name      string
	site      string
	cable     string // the interface on the router's side
	addresses Addresses
	namespace Namespace
	access    Access
	// gate is the router of a host that is behind one.
	gate Namespace
	// slot is what the plan has given to the host.
	slot Addresses
}

// hostName keeps names usable as file names; Linode's labels fit.
var hostName = regexp.MustCompile(`^[A-Za-z0-9][A-Za-z0-9._-]{0,63}$`)

// Prefix starts the name of everything that a lab's network makes on this machine. A lab's name has no dot, so no prefix
// is the beginning of another lab's.
func Prefix(lab string) string { return "atoll-" + lab + "." }

// New makes the router and the operator's workstation of a lab.
func New(ctx context.Context, lab string, log *slog.Logger) (*Network, error) {
	n := &Network{lab: lab, log: log, plan: newPlan(), hosts: map[string]*host{}}
	if err := n.start(ctx); err != nil {
		return nil, errors.Join(err, Sweep(context.WithoutCancel(ctx), lab))
	}
	return n, nil
}

func (n *Network) start(ctx context.Context) error {
	if err := n.Router().create(ctx); err != nil {
		return err
	}
	err := n.Router().sysctl(map[string]string{
		"ipv4/ip_forward": "1", "ipv6/conf/all/forwarding": "1",
		// Packets of a cut path must vanish, not come back as ICMP redirects through a neighbour.
		"ipv4/conf/all/send_redirects": "0", "ipv4/conf/default/send_redirects": "0",
	})
	if err != nil {
		return err
	}
	if err := n.setUpRouter(); err != nil {
		return err
	}
	for _, s := range n.plan.sites {
		if err := n.openSite(s); err != nil {
			return err
		}
	}
	for _, h := range []*host{
		{name: Operator, cable: Operator, namespace: n.OperatorNamespace(), addresses: workstation()},
		{name: Edge, cable: Edge, namespace: n.EdgeNamespace(), addresses: edgePlace()},
	} {
		if err := n.connect(ctx, h); err != nil {
			return err
		}
	}
	return n.applyRules(ctx)
}

// Router is the namespace where the clouds' APIs and metadata services listen.
func (n *Network) Router() Namespace { return Namespace(Prefix(n.lab) + "router") }

// OperatorNamespace is where the operator's commands run.
func (n *Network) OperatorNamespace() Namespace { return Namespace(Prefix(n.lab) + "operator") }

// EdgeNamespace is where the edge listens and from where it reaches the nodes, over the router as everybody does.
func (n *Network) EdgeNamespace() Namespace { return Namespace(Prefix(n.lab) + "edge") }

// Reserve gives a host its addresses at a site; a site seen for the first time gets its own subnets.
func (n *Network) Reserve(name, site string) (Addresses, error) {
	return n.ReserveFor(name, site, AccessPublic)
}

// ReserveFor is Reserve for a host with some access. It returns the addresses that the world knows it by, those of IPv4 zero where it has
// none.
func (n *Network) ReserveFor(name, site string, access Access) (Addresses, error) {
	if !slices.Contains(Accesses(), access) {
		return Addresses{}, fmt.Errorf("host %q: %q is no kind of access: %q are", name, access, Accesses())
	}
	n.mu.Lock()
	defer n.mu.Unlock()
	if name == Operator || name == Edge {
		return Addresses{}, fmt.Errorf("a host cannot be called %q: the lab uses that name itself", name)
	}
	if !hostName.MatchString(name) {
		return Addresses{}, fmt.Errorf("%q is no name for a host: letters, digits, '.', '_' and '-' are", name)
	}
	if _, taken := n.hosts[name]; taken {
		return Addresses{}, fmt.Errorf("host %q is in the lab already", name)
	}
	s, fresh, err := n.plan.open(site)
	if err != nil {
		return Addresses{}, err
	}
	if fresh {
		if err := n.openSite(s); err != nil {
			return Addresses{}, err
		}
	}
	a, err := n.plan.allocate(s, name)
	if err != nil {
		return Addresses{}, err
	}
	n.cables++
	h := &host{
		name: name, site: site, addresses: a, slot: a, cable: fmt.Sprintf("host%d", n.cables),
		namespace: Namespace(Prefix(n.lab) + "node-" + name), access: access, gate: Namespace(Prefix(n.lab) + "gate-" + name),
	}
	switch access {
	case AccessIPv6:
		h.addresses.IPv4, h.addresses.Gateway = netip.Addr{}, netip.Addr{}
	case AccessTranslated:
		h.addresses.IPv6 = netip.Addr{}
	case AccessPublic:
	}
	n.hosts[name] = h
	return h.addresses, nil
}

// Plug gives a reserved host a fresh namespace with its addresses and a cable to the router: a machine that gets power
// remembers nothing that its kernel knew before.
func (n *Network) Plug(ctx context.Context, name string) (Namespace, error) {
	h, err := n.host(name)
	if err != nil {
		return "", err
	}
	if err := h.remove(ctx); err != nil {
		return "", err
	}
	if err := n.connect(ctx, h); err != nil {
		return "", errors.Join(err, h.remove(context.WithoutCancel(ctx)))
	}
	return h.namespace, nil
}

// Namespace returns where a host's programs have their network. It is there while the host has power.
func (n *Network) Namespace(name string) (Namespace, error) {
	h, err := n.host(name)
	if err != nil {
		return "", err
	}
	return h.namespace, nil
}

// Silence stops a host's cable at once. A power cut starts with it: a kernel that kills the processes of a host would
// otherwise say goodbye on each of their connections, which a machine without power cannot.
func (n *Network) Silence(name string) error {
	h, err := n.host(name)
	if err != nil {
		return err
	}
	return n.linkDown(h)
}

// Unplug removes a host's namespace and cable. Its addresses stay reserved.
func (n *Network) Unplug(ctx context.Context, name string) error {
	h, err := n.host(name)
	if err != nil {
		return err
	}
	return h.remove(ctx)
}

// remove deletes the host's namespace, and its router's.
func (h *host) remove(ctx context.Context) error {
	return errors.Join(h.namespace.remove(ctx), h.gate.remove(ctx))
}

// Release unplugs a host, frees its addresses and forgets its impairments. A host that is not there is fine.
func (n *Network) Release(ctx context.Context, name string) error {
	h, err := n.host(name)
	if err != nil {
		return nil //nolint:nilerr // gone already is what the caller wants
	}
	if err := h.remove(ctx); err != nil {
		return err
	}
	n.mu.Lock()
	defer n.mu.Unlock()
	delete(n.hosts, name)
	n.plan.release(h.slot)
	n.impairments = slices.DeleteFunc(n.impairments, func(i Impairment) bool { return i.From == name || i.To == name })
	return n.applyRules(ctx)
}

// Impair makes a path bad: from one end to the other and, unless oneWay, back as well. Ends are hosts, sites, Operator, Edge or
// Everything. Impairing a direction again replaces what was there.
func (n *Network) Impair(ctx context.Context, from, to string, percent int, oneWay bool) error {
	n.mu.Lock()
	defer n.mu.Unlock()
	before := slices.Clone(n.impairments)
	directions := []Impairment{{From: from, To: to, Percent: percent}}
	if !oneWay {
		directions = append(directions, Impairment{From: to, To: from, Percent: percent})
	}
	for _, d := range directions {
		if err := d.validate(); err != nil {
			return err
		}
		n.impairments = set(n.impairments, d)
	}
	if err := n.applyRules(ctx); err != nil {
		n.impairments = before
		return err
	}
	return nil
}

// Heal removes every impairment between two ends, in both directions.
func (n *Network) Heal(ctx context.Context, a, b string) error {
	return n.heal(ctx, func(i Impairment) bool { return i.From == a && i.To == b || i.From == b && i.To == a })
}

// HealAll removes every impairment.
func (n *Network) HealAll(ctx context.Context) error {
	return n.heal(ctx, func(Impairment) bool { return true })
}

func (n *Network) heal(ctx context.Context, match func(Impairment) bool) error {
	n.mu.Lock()
	defer n.mu.Unlock()
	before := slices.Clone(n.impairments)
	n.impairments = slices.DeleteFunc(n.impairments, match)
	if err := n.applyRules(ctx); err != nil {
		n.impairments = before
		return err
	}
	return nil
}

// Impairments lists the bad paths in the order they were made.
func (n *Network) Impairments() []Impairment {
	n.mu.Lock()
	defer n.mu.Unlock()
	return slices.Clone(n.impairments)
}

// Close removes everything the network made.
func (n *Network) Close(ctx context.Context) error { return Sweep(ctx, n.lab) }

func (n *Network) host(name string) (*host, error) {
	n.mu.Lock()
	defer n.mu.Unlock()
	h, ok := n.hosts[name]
	if !ok {
		return nil, fmt.Errorf("no host %q in the lab", name)
	}
	return h, nil
}

// applyRules loads the current impairments into the router. The caller holds mu.
func (n *Network) applyRules(ctx context.Context) error {
	text, err := ruleset(n.impairments, n.resolve)
	if err != nil {
		return err
	}
	if err := finish(n.Router().Command(ctx, "nft", "-f", "-"), text); err != nil {
		return fmt.Errorf("load the router's rules: %w", err)
	}
	return nil
}

// resolve turns an end of an impairment into addresses. The caller holds mu.
func (n *Network) resolve(name string) ([]netip.Prefix, error) {
	if h, ok := n.hosts[name]; ok {
		return single(h.addresses), nil
	}
	if s, ok := n.plan.site(name); ok {
		return []netip.Prefix{s.IPv4, s.IPv6}, nil
	}
	switch name {
	case Everything:
		return []netip.Prefix{netip.PrefixFrom(netip.IPv4Unspecified(), 0), netip.PrefixFrom(netip.IPv6Unspecified(), 0)}, nil
	case Operator:
		return single(workstation()), nil
	case Edge:
		return single(edgePlace()), nil
	}
	return nil, fmt.Errorf("%q is neither a host nor a site of the lab; there are %s", name, strings.Join(n.names(), ", "))
}

func single(a Addresses) []netip.Prefix {
	var out []netip.Prefix
	for _, addr := range []netip.Addr{a.IPv4, a.IPv6} {
		if addr.IsValid() {
			out = append(out, netip.PrefixFrom(addr, addr.BitLen()))
		}
	}
	return out
}

// names lists everything that resolve knows. The caller holds mu.
func (n *Network) names() []string {
	var names []string
	for name := range n.hosts {
		names = append(names, name)
	}
	slices.Sort(names)
	for _, s := range n.plan.sites {
		names = append(names, s.Name)
	}
	return append(names, Operator, Edge, Everything)
}
