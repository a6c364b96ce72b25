package upstream

import (
	"fmt"
	"net/netip"
	"strings"
)

// Nginx is what is told nginx about a group of nodes.
type Nginx struct {
	// Name names the upstream.
	Name  string
	Nodes []Node
	// Method is how a visitor without a route gets a node.
	Method NginxMethod
	// Sticky keeps visitors on the node that their cookie names. It has no Parameter here.
	Sticky Sticky
	// Keepalive is how many idle connections each worker process keeps to the nodes.
	Keepalive int
	// Client says where visitors' addresses are when others stand before nginx; its zero value that none do.
	Client Client
}

// NginxMethod is how nginx chooses a node.
type NginxMethod string

// Methods of choosing.
const (
	// IPHash keeps each visitor's network on one node, as long as that takes connections.
	IPHash     NginxMethod = "ip_hash"
	LeastConn  NginxMethod = "least_conn"
	RoundRobin NginxMethod = "round_robin"
)

// NginxMethods returns all methods.
func NginxMethods() []NginxMethod { return []NginxMethod{IPHash, LeastConn, RoundRobin} }

// Client says who may tell a visitor's address, and how.
type Client struct {
	// Header has the address, such as CF-Connecting-IP.
	Header string
	// From are the networks whose word is taken.
	From []string
}

// NginxText is the configuration in parts, each for its place.
type NginxText struct {
	// HTTP belongs into http, beside servers.
	HTTP string
	// Server belongs into the server. It is a comment where there is nothing to say.
	Server string
	// Location belongs into each location that the nodes serve.
	Location string
}

// Text writes the configuration. Errors are of type *Error.
//
// Directives and their defaults: nginx.org, ngx_http_upstream_module, ngx_http_proxy_module, ngx_http_realip_module. A node that
// takes no connection is passed by for 10 s at once (max_fails=1, fail_timeout=10s, nginx's defaults).
func (c Nginx) Text() (NginxText, error) {
	nodes, err := arranged(c.Name, c.Nodes)
	if err != nil {
		return NginxText{}, err
	}
	if err := c.check(nodes); err != nil {
		return NginxText{}, err
	}
	server, err := c.server()
	if err != nil {
		return NginxText{}, err
	}
	target := c.Name
	http := c.group(nodes)
	if c.Sticky.Cookie != "" {
		target = "$" + c.variable()
		http += c.routes(nodes)
	}
	return NginxText{HTTP: http, Server: server, Location: location(target)}, nil
}

func (c Nginx) check(nodes []Node) error {
	switch c.Method {
	case IPHash:
		for _, n := range nodes {
			if n.State == Spare {
				return wrong(InNodes, "node %q: nginx has no backups with ip_hash: choose another method, or let the node take its share", n.Name)
			}
		}
	case LeastConn, RoundRobin:
	default:
		return wrong(InOptions, "%q is no method: write ip_hash, least_conn or round_robin", c.Method)
	}
	if c.Sticky.Parameter != "" {
		return wrong(InOptions, "nginx keeps visitors by cookies alone, not by the parameter %q", c.Sticky.Parameter)
	}
	if c.Keepalive < 1 || c.Keepalive > 65535 {
		return wrong(InOptions, "keepalive: %d is no number of connections: write 1 to 65535", c.Keepalive)
	}
	return c.Sticky.check(nodes)
}

// group is the upstream of those who have no route.
func (c Nginx) group(nodes []Node) string {
	var b strings.Builder
	fmt.Fprintf(&b, "upstream %s {\n", c.Name)
	if c.Method != RoundRobin {
		fmt.Fprintf(&b, "    %s;\n", c.Method)
	}
	for _, n := range nodes {
		fmt.Fprintf(&b, "    server %s", n.authority())
		if n.Weight != 1 {
			fmt.Fprintf(&b, " weight=%d", n.Weight)
		}
		switch n.State {
		case Serving:
		case Spare:
			b.WriteString(" backup")
		case Draining, Disabled:
			b.WriteString(" down")
		}
		fmt.Fprintf(&b, "; # %s\n", n.Name)
	}
	fmt.Fprintf(&b, "    keepalive %d;\n}\n", c.Keepalive)
	return b.String()
}

// variable is the name of the variable with the upstream of a visitor's route. Names have no underscores, so it is unique.
func (c Nginx) variable() string { return strings.ReplaceAll(c.Name, "-", "_") + "_route" }

// routes are an upstream for each node, where the others stand by, and the map that leads to it. Its default is the group: a route
// that names nobody, or a disabled node, is none.
func (c Nginx) routes(nodes []Node) string {
	var b strings.Builder
	for _, n := range nodes {
		if n.State == Disabled {
			continue
		}
		fmt.Fprintf(&b, "\nupstream %s.%s {\n    server %s;\n", c.Name, n.Name, n.authority())
		for _, other := range nodes {
			if other.Name != n.Name && (other.State == Serving || other.State == Spare) {
				fmt.Fprintf(&b, "    server %s backup; # %s\n", other.authority(), other.Name)
			}
		}
		fmt.Fprintf(&b, "    keepalive %d;\n}\n", c.Keepalive)
	}
	fmt.Fprintf(&b, "\nmap $cookie_%s $%s {\n    default %s;\n", c.Sticky.Cookie, c.variable(), c.Name)
	for _, n := range nodes {
		if n.State != Disabled {
			fmt.Fprintf(&b, "    ~\\.%s$ %s.%s;\n", n.Name, c.Name, n.Name)
		}
	}
	b.WriteString("}\n")
	return b.String()
}

// server tells whose word on a visitor's address is taken.
func (c Nginx) server() (string, error) {
	if len(c.Client.From) == 0 {
		if c.Client.Header != "" {
			return "", wrong(InOptions, "client_address: without from, nobody's header %s is believed", c.Client.Header)
		}
		text := "# Visitors are known by the address that connects.\n"
		if c.Method == IPHash {
			text += "# Behind Cloudflare or another proxy that is the proxy's: ip_hash then needs client_address.\n"
		}
		return text, nil
	}
	if !headerName.MatchString(c.Client.Header) {
		return "", wrong(InOptions, "client_address: %q is no name of a header", c.Client.Header)
	}
	var b strings.Builder
	for _, from := range c.Client.From {
		network, err := prefix(from)
		switch {
		case err != nil:
			return "", wrong(InOptions, "client_address: %q is neither an address nor a network such as 192.0.2.0/24", from)
		case network.Bits() == 0:
			return "", wrong(InOptions, "client_address: %s is everybody, who could then claim any address", from)
		}
		fmt.Fprintf(&b, "set_real_ip_from %s;\n", network)
	}
	fmt.Fprintf(&b, "real_ip_header %s;\nreal_ip_recursive on;\n", c.Client.Header)
	return b.String(), nil
}

func prefix(text string) (netip.Prefix, error) {
	if a, err := netip.ParseAddr(text); err == nil && a.Zone() == "" {
		return netip.PrefixFrom(a, a.BitLen()), nil
	}
	p, err := netip.ParsePrefix(text)
	return p.Masked(), err
}

// connectSeconds is how long a load balancer waits until a node takes a connection. Both programs' default is 60 s, which visitors
// do not wait when a machine is off.
const connectSeconds = 2

// location keeps connections to the nodes, which takes HTTP/1.1 and no "Connection: close", and tells them who asks for what.
func location(target string) string {
	return fmt.Sprintf(`proxy_pass http://%s;
proxy_http_version 1.1;
proxy_set_header Connection "";
proxy_set_header Host $host;
proxy_set_header X-Forwarded-For $proxy_add_x_forwarded_for;
proxy_set_header X-Forwarded-Proto $scheme;
proxy_connect_timeout %ds;
`, target, connectSeconds)
}
