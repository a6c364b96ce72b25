package haproxy

import (
	"cmp"
	"crypto/sha256"
	"encoding/hex"
	"fmt"
	"net"
	"slices"
	"strconv"
	"strings"

	"github.com/atollhq/terraform-provider-atoll/internal/balancer"
	"github.com/atollhq/terraform-provider-atoll/internal/spec"
)

// markPrefix begins the description that the running HAProxy gives of itself: the digest of its configuration follows.
const markPrefix = "atoll-"

// config is everything that the driver writes for HAProxy.
type config struct {
	// text is the configuration, mark what the HAProxy that runs it says of itself.
	text, mark string
	// bundles holds the files with certificates and their keys. Their names tell their content, so that the one that is in use
	// is never written over.
	bundles map[string]string
	// ports are those that the configuration listens on.
	ports []int
}

// Connections. The edge keeps an idle connection to its origin for 900 s (Cloudflare, "Connection limits"): one that is closed
// here first can meet a request on its way. A server gets two seconds to take a connection, which is what a path of 800 ms
// there and back needs with one packet lost.
const defaults = `
defaults
	mode http
	log global
	option forwardfor
	option redispatch 1
	retries 3
	retry-on conn-failure empty-response
	timeout http-request 10s
	timeout http-keep-alive 920s
	timeout client 2m
	timeout client-fin 30s
	timeout connect 2s
	timeout server 10m
	timeout server-fin 30s
	timeout queue 5s
	timeout tunnel 1h
`

// newConfig returns what HAProxy is to be told. IPv6 tells whether the machine has it. A service with a value that has no
// place in a configuration is an error.
func newConfig(c *balancer.Config, ipv6 bool) (config, error) {
	out := config{bundles: map[string]string{}}
	var b strings.Builder
	b.WriteString(defaults)
	for _, l := range listeners(c) {
		out.ports = append(out.ports, l.port)
		writeFrontend(&b, l, ipv6, out.bundles)
	}
	for _, s := range c.Services {
		if err := writeBackend(&b, s); err != nil {
			return config{}, fmt.Errorf("proxy of %s: %w", s.Hostname, err)
		}
		writeLastResort(&b, s)
	}
	slices.Sort(out.ports)
	sum := sha256.Sum256([]byte(b.String()))
	out.mark = markPrefix + hex.EncodeToString(sum[:8])
	out.text = "# Written by atolld; changes are overwritten.\n" + global(out.mark) + b.String()
	return out, nil
}

// global returns the part that is the same on every node. Requests are not logged, changes of servers are.
func global(mark string) string {
	return `global
	description ` + mark + `
	user haproxy
	group haproxy
	chroot ` + chrootDir + `
	log stdout format short daemon notice
	stats socket ` + socketPath + ` mode 600 level admin expose-fd listeners
	maxconn ` + strconv.Itoa(maxConnections) + `
	hard-stop-after 10m
	ssl-default-bind-options ssl-min-ver TLSv1.2 no-tls-tickets
`
}

// listener is one port and the services that share it.
type listener struct {
	port     int
	tls      bool
	services []balancer.Service
}

// listeners returns the ports of all services. A port is plain or TLS for all its services: the model sees to that.
func listeners(c *balancer.Config) []listener {
	type key struct {
		port int
		tls  bool
	}
	byPort := map[key][]balancer.Service{}
	for _, s := range c.Services {
		if s.Port != 0 {
			byPort[key{s.Port, false}] = append(byPort[key{s.Port, false}], s)
		}
		if s.TLSPort != 0 {
			byPort[key{s.TLSPort, true}] = append(byPort[key{s.TLSPort, true}], s)
		}
	}
	out := make([]listener, 0, len(byPort))
	for k, services := range byPort {
		out = append(out, listener{k.port, k.tls, services})
	}
	slices.SortFunc(out, func(a, b listener) int { return cmp.Compare(a.port, b.port) })
	return out
}

func writeFrontend(b *strings.Builder, l listener, ipv6 bool, bundles map[string]string) {
	proto, options := "http", ""
	if l.tls {
		proto = "https"
		for _, s := range l.services {
			file := bundlePath(s)
			bundles[file] = s.Certificate
			options += " crt " + file
		}
		options = " ssl" + options + " alpn h2,http/1.1"
	}
	fmt.Fprintf(b, "\nfrontend %s_%d\n\tbind *:%d%s\n", proto, l.port, l.port, options)
	if ipv6 {
		fmt.Fprintf(b, "\tbind :::%d v6only%s\n", l.port, options)
	}
	if l.tls {
		b.WriteString("\thttp-request set-header X-Forwarded-Proto https\n")
	} else {
		// An edge that speaks TLS to the client has said so.
		b.WriteString("\thttp-request set-header X-Forwarded-Proto http unless { req.hdr(X-Forwarded-Proto) -m found }\n")
	}
	// What may have changed something is not sent twice.
	b.WriteString("\thttp-request disable-l7-retry unless METH_GET\n")
	if len(l.services) == 1 {
		s := l.services[0]
		fmt.Fprintf(b, "\tuse_backend %s if %s\n\tdefault_backend %s\n", resortName(s), noneWell(s), backendName(s))
		return
	}
	var all []string
	for _, s := range l.services {
		all = append(all, hosts(s)...)
	}
	fmt.Fprintf(b, "\thttp-request deny deny_status 421 unless { req.hdr(host),host_only,lower -m str %s }\n", strings.Join(all, " "))
	for _, s := range l.services {
		meant := fmt.Sprintf("{ req.hdr(host),host_only,lower -m str %s }", strings.Join(hosts(s), " "))
		fmt.Fprintf(b, "\tuse_backend %s if %s %s\n\tuse_backend %s if %s\n", resortName(s), meant, noneWell(s), backendName(s), meant)
	}
}

// hosts returns the names that mean a service, quoted.
func hosts(s balancer.Service) []string {
	var out []string
	for _, host := range append([]string{s.Hostname}, s.Hosts...) {
		out = append(out, quote(strings.ToLower(host)))
	}
	return slices.Compact(out)
}

// writeBackend writes where a service's requests go: to the first server that is well, while there is one.
//
// "fall 1 rise 2" every second finds a dead application within a second. A connection that fails has the next check made at
// once. What a server is at goes on while it is down: one failed check, which it takes, is no reason to end requests that are
// being answered. Those that wait for a machine that is gone, or for an application that answers no check for long, end by Release.
func writeBackend(b *strings.Builder, s balancer.Service) error {
	fmt.Fprintf(b, "\nbackend %s\n", backendName(s))
	check := s.Check
	fmt.Fprintf(b, "\ttimeout check %ds\n", check.Timeout)
	if check.Type == spec.CheckHTTP {
		host := cmp.Or(check.HostHeader, s.Hostname)
		for _, text := range []string{check.Path, host} {
			if strings.ContainsFunc(text, func(r rune) bool { return r < ' ' || r == 0x7f }) {
				return fmt.Errorf("the check's path or host header %q has a control character", text)
			}
		}
		status := "200-399"
		if check.Status != 0 {
			status = strconv.Itoa(check.Status)
		}
		fmt.Fprintf(b, "\toption httpchk\n\thttp-check send meth GET uri %s ver HTTP/1.1 hdr Host %s hdr User-Agent atoll\n\thttp-check expect status %s\n",
			quoteFormat(strings.ReplaceAll(check.Path, " ", "%20")), quoteFormat(host), status)
	}
	fmt.Fprintf(b, "\tdefault-server check inter %ds fastinter 250ms fall 1 rise 2 observe layer4 error-limit 1 on-error fastinter",
		check.Interval)
	if check.Port != 0 && check.Type != spec.CheckCommand {
		fmt.Fprintf(b, " port %d", check.Port)
	}
	b.WriteString("\n")
	for i, server := range s.Servers {
		backup := " backup"
		if i == 0 {
			backup = ""
		}
		writeServer(b, server, backup)
	}
	return nil
}

// writeLastResort writes where a service's requests go while no server is well. What makes the check fail on every node at once,
// such as a service that all applications ask, is no reason to answer nobody: the cluster keeps nodes in service then, and they
// are to serve. Nobody is checked here. The first server gets nearly everything; the others are there for a request that finds
// no connection, which goes on to another one (a backup would never get it while the first is not known to be down).
func writeLastResort(b *strings.Builder, s balancer.Service) {
	fmt.Fprintf(b, "\nbackend %s\n\tbalance roundrobin\n", resortName(s))
	for i, server := range s.Servers {
		weight := " weight 1"
		if i == 0 {
			weight = " weight 256" // the highest that there is
		}
		writeServer(b, server, weight)
	}
}

func writeServer(b *strings.Builder, s balancer.Server, options string) {
	fmt.Fprintf(b, "\tserver %s %s%s\n", s.Node, net.JoinHostPort(s.Address.Addr().String(), strconv.Itoa(int(s.Address.Port()))), options)
}

// noneWell is the condition that no server of a service is well.
func noneWell(s balancer.Service) string { return fmt.Sprintf("{ nbsrv(%s) eq 0 }", backendName(s)) }

// backendPrefix begins the name of each backend whose servers are checked, resortPrefix that of the one beside it for when none
// of them is well; the hostname follows.
const (
	backendPrefix = "app_"
	resortPrefix  = "any_"
)

func backendName(s balancer.Service) string { return backendPrefix + s.Hostname }

func resortName(s balancer.Service) string { return resortPrefix + s.Hostname }

// bundlePath is where a service's certificate and key are. The name holds a digest of both.
func bundlePath(s balancer.Service) string {
	sum := sha256.Sum256([]byte(s.Certificate))
	return bundleDir + "/" + s.Hostname + "." + hex.EncodeToString(sum[:8]) + ".pem"
}

// quote returns a text as one word of a configuration (HAProxy's manual, "Quoting and escaping").
func quote(text string) string {
	var b strings.Builder
	for i := range len(text) {
		switch c := text[i]; {
		case c >= 'a' && c <= 'z', c >= 'A' && c <= 'Z', c >= '0' && c <= '9', strings.IndexByte("._/:-?=&,;@+~", c) >= 0:
			b.WriteByte(c)
		default:
			fmt.Fprintf(&b, `\x%02x`, c)
		}
	}
	return b.String()
}

// quoteFormat is quote for a word that HAProxy takes as a format, where a percent sign begins a variable.
func quoteFormat(text string) string { return quote(strings.ReplaceAll(text, "%", "%%")) }
