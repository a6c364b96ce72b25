package haproxy

import (
	"crypto/sha256"
	"encoding/hex"
	"fmt"
	"strings"

	"github.com/atollhq/terraform-provider-atoll/internal/router"
	"github.com/atollhq/terraform-provider-atoll/internal/router/rolecheck"
)

// markPrefix begins the description that the running HAProxy gives of itself: a digest of everything but the servers follows.
const markPrefix = "atoll-"

// config is what HAProxy is to be told for one database.
type config struct {
	text string
	// mark is what the HAProxy that runs it says of itself. It does not depend on the servers, which change while it runs.
	mark    string
	servers []server
}

// server is one of a backend's servers.
type server struct {
	backend, name string
	address       string
	// check is the address and port of the member's agent, question what it is asked.
	check    string
	question rolecheck.Question
}

// The two backends.
const (
	writers = "writers"
	readers = "readers"
)

// head is the same for every database.
//
// How long a connection may be idle is the server's decision (wait_timeout): the times here are near the highest that HAProxy knows.
// Dead peers are found by keep-alive packets, once the system thinks of them.
const head = `	log stdout format short daemon notice
	stats socket %s mode 600 level admin
	maxconn 8192

defaults
	mode tcp
	log global
	option clitcpka
	option srvtcpka
	option redispatch 1
	retries 2
	timeout connect 2s
	timeout check 1s
	timeout queue 5s
	timeout client 24d
	timeout server 24d
`

// newConfig returns what HAProxy is to be told. IPv6 tells whether the node has it.
func newConfig(d router.Database, ipv6 bool) config {
	var frame strings.Builder
	fmt.Fprintf(&frame, head, socketPath(d.Name))
	for _, l := range []struct {
		name string
		port int
		rest string
	}{
		{"write", d.WritePort, "\tdefault_backend " + writers + "\n"},
		// The primary serves reads only while nobody else does.
		{"read", d.ReadPort, "\tuse_backend " + writers + " if { nbsrv(" + readers + ") eq 0 }\n\tdefault_backend " + readers + "\n"},
	} {
		fmt.Fprintf(&frame, "\nfrontend %s\n\tbind 127.0.0.1:%d\n", l.name, l.port)
		if ipv6 {
			fmt.Fprintf(&frame, "\tbind ::1:%d v6only\n", l.port)
		}
		frame.WriteString(l.rest)
	}
	out := config{}
	sum := sha256.Sum256([]byte(frame.String()))
	out.mark = markPrefix + hex.EncodeToString(sum[:8])

	var b strings.Builder
	b.WriteString("# Written by atolld; changes are overwritten. Servers change while HAProxy runs.\nglobal\n\tdescription " + out.mark + "\n")
	b.WriteString(frame.String())
	for _, backend := range []struct {
		name     string
		question rolecheck.Question
	}{{writers, rolecheck.IsWriter}, {readers, rolecheck.IsReader}} {
		fmt.Fprintf(&b, "\nbackend %s\n\tbalance leastconn\n", backend.name)
		for _, m := range d.Members {
			s := server{backend.name, m.Node, m.Address.String(), m.Check.String(), backend.question}
			out.servers = append(out.servers, s)
			fmt.Fprintf(&b, "\tserver %s %s disabled %s\n", s.name, s.address, s.options(d.Name))
		}
	}
	out.text = b.String()
	return out
}

// options are a server's, in the configuration and in a command alike.
//
// The member's agent says twice a second which role it has; a server that HAProxy has not heard of is disabled. An agent that does
// not answer changes nothing, since it may be starting again; so that a machine that is gone is found without it, the server's port
// is tried as well, which takes two to six seconds. That is less than a group needs for another primary. An answer has to come
// within "agent-inter", which therefore is longer than any way round the world.
func (s server) options(database string) string {
	host, port, _ := strings.Cut(s.check, ":")
	if i := strings.LastIndex(s.check, "]:"); i >= 0 {
		host, port = strings.TrimPrefix(s.check[:i], "["), s.check[i+2:]
	}
	return fmt.Sprintf("check inter 2s fastinter 1s downinter 1s fall 3 rise 1 agent-check agent-inter 500ms agent-addr %s agent-port %s agent-send %s on-marked-down shutdown-sessions",
		host, port, s.question.Of(database))
}
