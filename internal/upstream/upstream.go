// Package upstream writes the configuration of load balancers of one's own, nginx and Apache, that lead to nodes. It is pure: what
// it returns depends on what it is given alone, and the same nodes in another order give the same text.
//
// Everything that comes into a text is checked first and there is no quoting: a name, host or path that would need some is refused.
package upstream

import (
	"cmp"
	"fmt"
	"net"
	"net/netip"
	"regexp"
	"slices"
	"strconv"
	"strings"

	"github.com/atollhq/terraform-provider-atoll/internal/spec"
)

// Node is a node as a load balancer reaches it.
type Node struct {
	// Name is the node's name, and its route: what the node appends to its session cookies after a dot.
	Name string
	// Host is an IP address or a host name.
	Host string
	Port int
	// Weight is the node's share of the visitors, 1 to MaxWeight.
	Weight int
	State  State
}

// MaxWeight is the largest weight of a node: Apache's limit for loadfactor, which nginx does not have.
const MaxWeight = 100

// State is what a load balancer does with a node.
type State int

// States of a node.
const (
	// Serving nodes get visitors.
	Serving State = iota
	// Spare nodes get visitors when no serving node takes connections.
	Spare
	// Draining nodes keep the visitors whose cookie names their route, and get no others.
	Draining
	// Disabled nodes get nobody, and stay in the text so that the others keep their visitors.
	Disabled
)

// Sticky says by what a visitor's node is known.
type Sticky struct {
	// Cookie is the name of a cookie that ends with a dot and the node's name; "" for none.
	Cookie string
	// Parameter is a path parameter (/path;parameter=session.node) of the same form; "" for none. nginx looks at cookies alone.
	Parameter string
}

// Part is the part of what a text is made of that an error is about.
type Part int

// Parts.
const (
	InName Part = iota
	InNodes
	InOptions
)

// Error says what cannot be written down.
type Error struct {
	Part   Part
	Reason string
}

// Error returns the reason.
func (e *Error) Error() string { return e.Reason }

func wrong(part Part, format string, args ...any) error {
	return &Error{Part: part, Reason: fmt.Sprintf(format, args...)}
}

var (
	hostName   = regexp.MustCompile(`^[A-Za-z0-9]([A-Za-z0-9-]{0,61}[A-Za-z0-9])?(\.[A-Za-z0-9]([A-Za-z0-9-]{0,61}[A-Za-z0-9])?)*$`)
	cookieName = regexp.MustCompile(`^[A-Za-z0-9_]{1,64}$`)
	urlPath    = regexp.MustCompile(`^(/[A-Za-z0-9._~-]+)*/?$`)
	headerName = regexp.MustCompile(`^[A-Za-z0-9]([A-Za-z0-9-]{0,62}[A-Za-z0-9])?$`)
)

// arranged checks name and nodes and returns the nodes by name.
func arranged(name string, nodes []Node) ([]Node, error) {
	if err := spec.ValidateName("the name", name).Err(); err != nil {
		return nil, wrong(InName, "%v", err)
	}
	nodes = slices.SortedFunc(slices.Values(nodes), func(a, b Node) int { return cmp.Compare(a.Name, b.Name) })
	serving := 0
	at := map[string]string{}
	for i, n := range nodes {
		if err := spec.ValidateName("name", n.Name).Err(); err != nil {
			return nil, wrong(InNodes, "node %q: %v", n.Name, err)
		}
		if i > 0 && nodes[i-1].Name == n.Name {
			return nil, wrong(InNodes, "two nodes are named %q: routes are names of nodes, so each has its own", n.Name)
		}
		if err := n.check(); err != nil {
			return nil, err
		}
		if other := at[n.authority()]; other != "" {
			return nil, wrong(InNodes, "nodes %q and %q are both at %s", other, n.Name, n.authority())
		}
		at[n.authority()] = n.Name
		if n.State == Serving {
			serving++
		}
	}
	if serving == 0 {
		return nil, wrong(InNodes, "no node gets visitors: at least one must be enabled, and neither a backup nor drained")
	}
	return nodes, nil
}

func (n Node) check() error {
	if _, err := n.address(); err != nil && (len(n.Host) > 253 || !hostName.MatchString(n.Host) || digits(n.Host)) {
		return wrong(InNodes, "node %q: %q is neither an IP address nor a host name", n.Name, n.Host)
	}
	if n.Port < 1 || n.Port > 65535 {
		return wrong(InNodes, "node %q: %d is no port: write 1 to 65535", n.Name, n.Port)
	}
	if n.Weight < 1 || n.Weight > MaxWeight {
		return wrong(InNodes, "node %q: %d is no weight: write 1 to %d", n.Name, n.Weight, MaxWeight)
	}
	return nil
}

// digits tells a mistyped IPv4 address, which resolvers may take for something else, from a host name.
func digits(host string) bool {
	last := host[strings.LastIndexByte(host, '.')+1:]
	_, err := strconv.Atoi(last)
	return err == nil
}

// address is the node's IP address. One with a zone means something on one machine only.
func (n Node) address() (netip.Addr, error) {
	a, err := netip.ParseAddr(n.Host)
	if err == nil && a.Zone() != "" {
		return a, fmt.Errorf("%q has a zone", n.Host)
	}
	return a, err
}

// authority is host and port as URLs have them, the same for two ways to write one address.
func (n Node) authority() string {
	host := strings.ToLower(n.Host)
	if a, err := n.address(); err == nil {
		host = a.String()
	}
	return net.JoinHostPort(host, strconv.Itoa(n.Port))
}

// check looks at the stickiness together with the nodes, which can only be drained by routes.
func (s Sticky) check(nodes []Node) error {
	for _, n := range []string{s.Cookie, s.Parameter} {
		if n != "" && !cookieName.MatchString(n) {
			return wrong(InOptions, "%q is no name of a cookie or parameter: letters, digits and underscores", n)
		}
	}
	if s == (Sticky{}) {
		for _, n := range nodes {
			if n.State == Draining {
				return wrong(InNodes, "node %q cannot be drained: without sticky_cookie nobody knows whose visitors are whose", n.Name)
			}
		}
	}
	return nil
}
