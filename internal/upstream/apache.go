package upstream

import (
	"fmt"
	"slices"
	"strings"
)

// Apache is what is told Apache's mod_proxy_balancer about a group of nodes.
type Apache struct {
	// Name names the balancer.
	Name  string
	Nodes []Node
	// Method is how a visitor without a route gets a node.
	Method ApacheMethod
	// Sticky keeps visitors on the node that their cookie or path parameter names.
	Sticky Sticky
	// SetCookie makes Apache set Sticky.Cookie itself, for applications that do not append their node's name to one.
	SetCookie bool
	// Paths are what the nodes serve, Except what below them they do not.
	Paths, Except []string
	// NoCanon passes paths on as they came, with encoded slashes, which the application must be able to take.
	NoCanon bool
}

// ApacheMethod is how Apache chooses a node.
type ApacheMethod string

// Methods of choosing, each a module lbmethod_*.
const (
	ByRequests ApacheMethod = "byrequests"
	ByTraffic  ApacheMethod = "bytraffic"
	ByBusyness ApacheMethod = "bybusyness"
)

// ApacheMethods returns all methods.
func ApacheMethods() []ApacheMethod { return []ApacheMethod{ByRequests, ByTraffic, ByBusyness} }

// retrySeconds is how long Apache passes a node by that took no connection; nginx's default, where Apache's is 60 s.
const retrySeconds = 10

// maxSession is the longest stickysession in bytes (PROXY_BALANCER_MAX_STICKY_SIZE in mod_proxy.h, with a zero byte).
const maxSession = 63

// Text writes the configuration for a virtual host. Errors are of type *Error.
//
// Directives: httpd.apache.org/docs/2.4, mod_proxy and mod_proxy_balancer.
func (c Apache) Text() (string, error) {
	nodes, err := arranged(c.Name, c.Nodes)
	if err != nil {
		return "", err
	}
	if err := c.check(nodes); err != nil {
		return "", err
	}
	var b strings.Builder
	if c.SetCookie {
		fmt.Fprintf(&b, "Header add Set-Cookie \"%s=.%%{BALANCER_WORKER_ROUTE}e; Path=/; HttpOnly\" env=BALANCER_ROUTE_CHANGED\n", c.Sticky.Cookie)
	}
	fmt.Fprintf(&b, "<Proxy balancer://%s>\n", c.Name)
	for _, n := range nodes {
		fmt.Fprintf(&b, "    BalancerMember http://%s route=%s", n.authority(), n.Name)
		if n.Weight != 1 {
			fmt.Fprintf(&b, " loadfactor=%d", n.Weight)
		}
		b.WriteString(n.status())
		fmt.Fprintf(&b, " retry=%d connectiontimeout=%d\n", retrySeconds, connectSeconds)
	}
	fmt.Fprintf(&b, "    ProxySet lbmethod=%s", c.Method)
	if s := c.Sticky.session(); s != "" {
		fmt.Fprintf(&b, " stickysession=%s", s)
	}
	if c.Sticky.Parameter != "" {
		b.WriteString(" scolonpathdelim=On")
	}
	b.WriteString("\n</Proxy>\n")
	nocanon := ""
	if c.NoCanon {
		nocanon = " nocanon"
		b.WriteString("AllowEncodedSlashes NoDecode\n")
	}
	// The first directive that matches counts.
	for _, p := range longestFirst(slices.Concat(c.Except, c.Paths)) {
		if slices.Contains(c.Except, p) {
			fmt.Fprintf(&b, "ProxyPass %s !\n", p)
		} else {
			fmt.Fprintf(&b, "ProxyPass %s balancer://%s%s%s\n", p, c.Name, p, nocanon)
		}
	}
	for _, p := range longestFirst(c.Paths) {
		fmt.Fprintf(&b, "ProxyPassReverse %s balancer://%s%s\n", p, c.Name, p)
	}
	b.WriteString("ProxyPreserveHost On\nRequestHeader set X-Forwarded-Proto expr=%{REQUEST_SCHEME}\n")
	return b.String(), nil
}

// status are Apache's letters for a state: a hot standby, ignoring new visitors (drain), disabled.
func (n Node) status() string {
	switch n.State {
	case Spare:
		return " status=+H"
	case Draining:
		return " status=+N"
	case Disabled:
		return " status=+D"
	case Serving:
	}
	return ""
}

// session is the name of the cookie and, after a bar, of the path parameter. Apache takes everything after the first bar for one
// name, and a name without a bar for both.
func (s Sticky) session() string {
	if s.Cookie == "" || s.Parameter == "" {
		return s.Cookie + s.Parameter
	}
	return s.Cookie + "|" + s.Parameter
}

func (c Apache) check(nodes []Node) error {
	if !slices.Contains(ApacheMethods(), c.Method) {
		return wrong(InOptions, "%q is no method: write byrequests, bytraffic or bybusyness", c.Method)
	}
	if c.SetCookie && c.Sticky.Cookie == "" {
		return wrong(InOptions, "set_cookie: the cookie has no name: write sticky_cookie")
	}
	if len(c.Paths) == 0 {
		return wrong(InOptions, "paths: there is none")
	}
	seen := map[string]bool{}
	for _, p := range slices.Concat(c.Except, c.Paths) {
		if p == "" || !urlPath.MatchString(p) || slices.Contains(strings.Split(p, "/"), "..") {
			return wrong(InOptions, "%q is no path: it begins with a slash and has letters, digits and any of . _ ~ -", p)
		}
		if seen[p] {
			return wrong(InOptions, "the path %s is given twice", p)
		}
		seen[p] = true
	}
	for _, e := range c.Except {
		if !slices.ContainsFunc(c.Paths, func(p string) bool { return strings.HasPrefix(e, strings.TrimSuffix(p, "/")+"/") }) {
			return wrong(InOptions, "except: %s is below none of the paths", e)
		}
	}
	if len(c.Sticky.session()) > maxSession {
		return wrong(InOptions, "sticky_cookie and sticky_parameter are longer than Apache takes: %d characters together", maxSession-1)
	}
	return c.Sticky.check(nodes)
}

// longestFirst returns the paths so that one which is below another comes before it.
func longestFirst(paths []string) []string {
	return slices.SortedFunc(slices.Values(paths), func(a, b string) int {
		if len(a) != len(b) {
			return len(b) - len(a)
		}
		return strings.Compare(a, b)
	})
}
