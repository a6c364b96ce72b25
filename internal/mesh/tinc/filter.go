package tinc

import (
	"crypto/sha256"
	"encoding/hex"
	"fmt"
	"net/netip"
	"strings"
)

// tableName is the driver's own nftables table. It takes packets from the mesh from peers alone, since tinc itself has no
// such check: while one peer has not heard yet that a node was removed, it would go on to forward what that node sends.
//
// And it lets nothing out to a peer before the peer has been reachable for a second. tinc 1.0 gives the UDP key of a pair
// away when a node becomes reachable, and another one each time it is asked, which happens when there is a packet to send.
// In a full mesh the first may go by a third node and arrive after the second; then the pair cannot read each other's
// packets for up to half a minute, until tincd gives UDP up, and use TCP for an hour after that. With nothing to send,
// nobody asks.
const tableName = "atoll_mesh"

// How long nothing goes out to a peer that has come, and at most to one that is away. The kernel lets both pass by
// itself, so nothing that fails can shut a peer out for good.
const (
	holdComing = "1s"
	holdAway   = "1h"
)

// filterRules returns the table for peers at these addresses.
func filterRules(peers []netip.Addr) string {
	elements := ""
	if len(peers) > 0 {
		elements = "\n\t\telements = { " + join(peers, "") + " }"
	}
	rules := fmt.Sprintf(`	set peers {
		type ipv4_addr%s
	}
	set fresh {
		type ipv4_addr
		flags timeout
	}
	chain output {
		type filter hook output priority -150; policy accept;
		oifname %q ip daddr @fresh reject with icmpx type no-route
	}
	chain input {
		type filter hook input priority -150; policy accept;
		iifname %q meta nfproto ipv6 drop
		iifname %q ip saddr != @peers drop
	}
`, elements, interfaceName, interfaceName, interfaceName)
	sum := sha256.Sum256([]byte(rules))
	return fmt.Sprintf("table inet %s\ndelete table inet %s\ntable inet %s {\n\tcomment %q\n%s}\n",
		tableName, tableName, tableName, filterMark+hex.EncodeToString(sum[:16]), rules)
}

// freshRules returns the commands that hold back what goes to peers that are not reachable yet.
func freshRules(peers []netip.Addr) string {
	if len(peers) == 0 {
		return ""
	}
	return fmt.Sprintf("add element inet %s fresh { %s }\n", tableName, join(peers, " timeout "+holdAway))
}

func join(addrs []netip.Addr, suffix string) string {
	words := make([]string, len(addrs))
	for i, a := range addrs {
		words[i] = a.String() + suffix
	}
	return strings.Join(words, ", ")
}

// subnetScript returns subnet-up or subnet-down, which tincd runs when a peer becomes reachable or ceases to be, before it
// does anything about it. An element's time can only be set when it is added, hence the three commands.
func subnetScript(hold string) string {
	return fmt.Sprintf(`#!/bin/sh
%speer=${SUBNET%%/*}
exec nft -f - <<END
add element inet %s fresh { $peer }
delete element inet %s fresh { $peer }
add element inet %s fresh { $peer timeout %s }
END
`, header, tableName, tableName, tableName, hold)
}

// filterMark begins the table's comment, which tells by a digest whether the table is the one that the driver wrote.
const filterMark = "atolld "

// markOf returns the comment in the text of a table.
func markOf(rules string) string {
	_, rest, ok := strings.Cut(rules, "comment \""+filterMark)
	if !ok {
		return ""
	}
	mark, _, _ := strings.Cut(rest, "\"")
	return mark
}
