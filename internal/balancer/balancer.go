// Package balancer is the contract between the agent and the programs that pass connections on, on a node: to the
// application on the same node, and over the mesh to the one on another node while that is not well. Package balancertest
// holds the tests that every driver passes.
package balancer

import (
	"context"
	"fmt"
	"log/slog"
	"maps"
	"net/netip"
	"slices"
	"strings"

	"github.com/atollhq/terraform-provider-atoll/internal/host"
	"github.com/atollhq/terraform-provider-atoll/internal/spec"
)

// Driver keeps one node's proxy as a configuration describes it. Its methods may be called from several goroutines.
type Driver interface {
	// Apply makes the proxy as c describes it. It may be called many times with the same configuration, and then changes
	// nothing and interrupts nothing; what was broken meanwhile (a stopped daemon, a missing file) is repaired. A change of
	// the configuration breaks no connection. One that the program refuses changes nothing: the old one stays in effect, also
	// after a restart of the machine, and the error says why. A port that another program has is left out, which is a
	// *PortsTakenError, and all others are served. A nil configuration removes everything that the driver made, private keys too.
	Apply(ctx context.Context, c *Config) error
	// Release ends the requests that wait for the application of a node that has died, or for one that hangs: whoever sent them would
	// wait for as long as the application may take to answer. What a server was not heard to answer and may be sent twice is given to
	// another one. A proxy that does not run, or does not know the hostname or node, is no error.
	Release(ctx context.Context, hostname, node string) error
	// Status returns the proxy as it is now. A proxy that is not there or not running is no error.
	Status(ctx context.Context) (Status, error)
}

// New makes a driver that works on a host. It does nothing to the host yet.
type New func(host.System, *slog.Logger) Driver

// Config is everything that a node's proxy serves.
type Config struct {
	// Services are sorted by hostname. They may share ports: which one is meant is what the request's Host says, and of a port
	// that only one service has, every request is for that one.
	Services []Service
}

// Service is one hostname that a node serves.
type Service struct {
	Hostname string
	// Hosts are further names that requests for it carry in Host.
	Hosts []string
	// Port is the TCP port of plain HTTP, TLSPort that of HTTPS; 0 for none.
	Port    int
	TLSPort int
	// Certificate is what HTTPS needs: the certificates, the node's own first, and its private key, in PEM.
	Certificate string
	// Check is how each server is asked whether it is well, with all defaults filled in. What a proxy cannot ask, which is
	// type command, is asked by opening a connection.
	Check spec.ApplicationCheck
	// Servers are where the application runs, in the order of preference: each gets what comes while no better one is well. What one
	// is at goes on when its check fails: that it cannot take more does not mean that it cannot end what it has begun.
	// While none is, requests go to the first one that takes a connection, whatever its check says.
	Servers []Server
}

// Server is an application on one node.
type Server struct {
	// Node is the node's name.
	Node string
	// Address is where it answers: on the node itself at the loopback address, on others at their mesh addresses.
	Address netip.AddrPort
}

// PortsTakenError says that other programs have ports of the proxy. What needs one of them is not served there.
type PortsTakenError struct {
	// At is where they listen, by the port.
	At map[int]string
}

// Error names the ports and what to do.
func (e *PortsTakenError) Error() string {
	var texts []string
	for _, port := range slices.Sorted(maps.Keys(e.At)) {
		texts = append(texts, fmt.Sprintf("port %d is in use by another program at %s", port, e.At[port]))
	}
	return strings.Join(texts, ", ") + "; stop it or give the proxy another port (ss -ltnp shows who it is)"
}

// Status is a node's proxy as it is.
type Status struct {
	// Running tells whether the proxy serves the configuration that was applied last.
	Running bool
	// Services holds for each hostname of the running configuration which of its servers are well, by the nodes' names.
	Services map[string]map[string]bool
	// Hanging holds for each hostname those servers that are unwell since a check got no answer in time, by the nodes' names: they
	// take the connection, or not even that, and say nothing. One that answers that it is unwell, or refuses, is not among them.
	Hanging map[string][]string
}
