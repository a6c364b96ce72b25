package mysqlrouter

import (
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"path"
	"strings"

	"github.com/atollhq/terraform-provider-atoll/internal/router"
)

// files is everything that the driver writes for one database.
type files struct {
	// config, keyring and masterKey are what a running Router has read; state is what it begins with.
	config, keyring, masterKey, state []byte
	// digest tells apart what only a restart can put in place.
	digest string
}

// settings are the same for every database.
//
// Router asks one member for the group's view every ttl. A change of the primary is seen, on average, after half of it; asking costs
// 0.8 % of a core here and 2 % of one at that member. Group Replication's notices would not be faster: the X plugin sends them in
// steps of half a second. A connection and an answer are waited for no longer than connect_timeout and read_timeout (whole seconds),
// so that a member that is gone does not hide the change: it is asked first, and again each time. A read that hangs does so once,
// and well before a group has another primary; a busy member may take its time.
//
// A client that gives up before it is logged in counts as an error of its address, and all clients here have the same one: after 100
// of them, Router would refuse everybody (max_connect_errors).
//
// Connections are watched by poll, not by epoll, which is Router's choice on Linux: an ICMP message that a member's network cannot be
// reached, as the mesh sends it when a path is lost, wakes a connection that is being made first with an error alone and then with its
// end. Router (9.7.4, after_event_fired in linux_epoll_io_service.h) has taken its interest back by then, never hears of the end, and
// keeps the port closed that the connection came by; it does not end either when it is told to. In half of the cuts of a mesh it was so.
// With poll it asks again. What that costs: nothing with 32 connections; with 1600, each query takes 170 µs of CPU and not 55.
//
// TLS goes through (PASSTHROUGH): server and client agree on it as if Router was not there, and nobody in between needs a key.
const settings = `[DEFAULT]
plugin_folder=/usr/lib/mysqlrouter/plugin
logging_folder=
runtime_folder=%[1]s
data_folder=%[1]s
keyring_path=%[1]s/keyring
master_key_path=%[1]s/master.key
dynamic_state=%[1]s/state.json
max_total_connections=8192
connect_timeout=1
read_timeout=3
client_ssl_mode=PASSTHROUGH
server_ssl_mode=AS_CLIENT
max_connect_errors=4294967295
unknown_config_option=error

[logger]
level=info

[io]
backend=poll

[metadata_cache:database]
cluster_type=gr
metadata_cluster=%[2]s
router_id=1
user=%[3]s
ssl_mode=REQUIRED
ttl=0.25
use_gr_notifications=0
`

// Writes go to the primary. Reads go to the others in turn, and to the primary while there is no other.
const (
	writeRoute = "metadata-cache://%s/?role=PRIMARY\nrouting_strategy=first-available"
	readRoute  = "metadata-cache://%s/?role=SECONDARY\nrouting_strategy=round-robin-with-fallback"
)

// newFiles returns what Router is to be told. IPv6 tells whether the node has it.
func newFiles(d router.Database, ipv6 bool) (files, error) {
	var b strings.Builder
	b.WriteString("# Written by atolld; changes are overwritten.\n")
	fmt.Fprintf(&b, settings, runDir(d.Name), d.Name, d.User)
	addresses := []struct{ suffix, address string }{{"", "127.0.0.1"}}
	if ipv6 {
		addresses = append(addresses, struct{ suffix, address string }{"6", "::1"})
	}
	for _, a := range addresses {
		for _, r := range []struct {
			name, route string
			port        int
		}{{"write", writeRoute, d.WritePort}, {"read", readRoute, d.ReadPort}} {
			fmt.Fprintf(&b, "\n[routing:%s%s]\nbind_address=%s\nbind_port=%d\nprotocol=classic\ndestinations="+r.route+"\n",
				r.name, a.suffix, a.address, r.port, d.Name)
		}
	}
	out := files{config: []byte(b.String())}
	var err error
	if out.keyring, out.masterKey, err = newKeyring(path.Join(runDir(d.Name), "keyring"), d.User, d.Password); err != nil {
		return files{}, err
	}
	if out.state, err = newState(d); err != nil {
		return files{}, err
	}
	sum := sha256.New()
	for _, part := range [][]byte{out.config, out.keyring, []byte(d.Group)} {
		_, _ = fmt.Fprintf(sum, "%d ", len(part)) // a hash takes everything
		_, _ = sum.Write(part)
	}
	out.digest = hex.EncodeToString(sum.Sum(nil)[:8])
	return out, nil
}

// state is Router's file of what it has learned, which it writes anew whenever the group changes.
type state struct {
	Cache   stateCache `json:"metadata-cache"`
	Version string     `json:"version"`
}

type stateCache struct {
	Group   string   `json:"group-replication-id"`
	Servers []string `json:"cluster-metadata-servers"`
}

// newState returns what Router would have learned by its own bootstrap.
func newState(d router.Database) ([]byte, error) {
	s := state{Version: "1.0.0", Cache: stateCache{Group: d.Group, Servers: servers(d)}}
	out, err := json.MarshalIndent(s, "", "    ")
	if err != nil {
		return nil, fmt.Errorf("write the router's state: %w", err)
	}
	return append(out, '\n'), nil
}

// servers returns the members as Router writes them.
func servers(d router.Database) []string {
	out := make([]string, 0, len(d.Members))
	for _, m := range d.Members {
		out = append(out, "mysql://"+m.Address.String())
	}
	return out
}
