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
// And it holds back what goes to a peer until the peer has been reachable for a second: packets for the mesh and tinc's own
// UDP. tinc 1.0 gives the UDP key of a pair away when a node becomes reachable, and another one each time it is asked, which
// happens when there is something to send before the first has come. In a full mesh the first may go by a third node and
// arrive after the second; then the pair cannot read each other's packets for up to half a minute, until tincd gives UDP up,
// and use TCP for an hour after that. With nothing to send, nobody asks.
const tableName = "atoll_mesh"

// How long nothing goes out to a peer that has come, and at most to one that is away. The kernel lets both pass by
// itself, so nothing that fails can shut a peer out for good.
const (
	holdComing = "1s"
	holdAway   = "1h"
	// holdWord stands for one of them in a peer's file.
	holdWord = "HOLD"
)

// filterRules returns the table for peers at these mesh addresses and the mesh's public port.
func filterRules(peers []netip.Addr, port int) string {
	elements := ""
	if len(peers) > 0 {
		words := make([]string, len(peers))
		for i, a := range peers {
			words[i] = a.String()
		}
		elements = "\n\t\telements = { " + strings.Join(words, ", ") + " }"
	}
	awaySets, awayOut, awayIn := awayRules(port)
	rules := fmt.Sprintf(`	set peers {
		type ipv4_addr%s
	}
	set fresh {
		type ipv4_addr
		flags timeout
	}
	set fresh_public4 {
		type ipv4_addr
		flags timeout
	}
	set fresh_public6 {
		type ipv6_addr
		flags timeout
	}
%s	chain output {
		type filter hook output priority -150; policy accept;
		oifname %q ip daddr @fresh reject with icmpx type no-route
		udp sport %d ip daddr @fresh_public4 drop
		udp sport %d ip6 daddr @fresh_public6 drop
%s	}
	chain input {
		type filter hook input priority -150; policy accept;
		iifname %q meta nfproto ipv6 drop
		iifname %q ip saddr != @peers drop
%s	}
`, elements, awaySets, interfaceName, port, port, awayOut, interfaceName, interfaceName, awayIn)
	sum := sha256.Sum256([]byte(rules))
	return fmt.Sprintf("table inet %s\ndelete table inet %s\ntable inet %s {\n\tcomment %q\n%s}\n",
		tableName, tableName, tableName, filterMark+hex.EncodeToString(sum[:16]), rules)
}

// holdRules returns the commands that hold back what goes to a peer, for a time to be put in. An element's time can only be
// set when it is added, hence three commands for each.
func holdRules(mesh netip.Addr, public []netip.Addr) string {
	var b strings.Builder
	hold := func(set string, a netip.Addr) {
		for _, command := range []string{"add element inet %s %s { %s }", "delete element inet %s %s { %s }", "add element inet %s %s { %s timeout " + holdWord + " }"} {
			fmt.Fprintf(&b, command+"\n", tableName, set, a)
		}
	}
	hold("fresh", mesh)
	for _, a := range public {
		if a.Is4() {
			hold("fresh_public4", a)
		} else {
			hold("fresh_public6", a.WithZone(""))
		}
	}
	return b.String()
}

// comesScript returns subnet-up, which tincd runs when a peer becomes reachable. tincd stands still until it returns, and a
// key that waits for it is late, so it leaves the work to a child: until that is done, the peer is held back as one that is
// away.
func comesScript() string {
	return scriptHead() + ": >" + comeDir + "/\"$NODE\"\n" + holdCommand(holdComing) + " &\n"
}

// goesScript returns subnet-down, which tincd runs when a peer ceases to be reachable. It does wait: a peer may come again
// at once, and then the last word must be subnet-up's. A peer that has changed its key is reachable under another name, perhaps
// before the old one is given up.
func goesScript() string {
	return scriptHead() + "rm -f " + comeDir + "/\"$NODE\"\n" +
		"for name in " + comeDir + "/\"${NODE%" + nameLetter + "*}\" " + comeDir + "/\"${NODE%" + nameLetter + "*}\"" + nameLetter + "*; do\n" +
		"\t[ ! -f \"$name\" ] || exit 0\ndone\n" + holdCommand(holdAway) + "\n"
}

func scriptHead() string { return "#!/bin/sh\n" + header + "peer=" + holdDir + "/\"$NODE\"\n" }

func holdCommand(hold string) string {
	return fmt.Sprintf("[ ! -f \"$peer\" ] || sed s/%s/%s/ \"$peer\" | nft -f -", holdWord, hold)
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
