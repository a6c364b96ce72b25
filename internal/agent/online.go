package agent

import (
	"fmt"
	"net"
	"os"
	"strings"
)

// networkProblem returns what keeps this machine from reaching others, as far as it can tell by itself; "" when it has an
// address and a way out.
func networkProblem() string {
	interfaces, err := net.Interfaces()
	if err != nil {
		return fmt.Sprintf("the network interfaces cannot be listed: %v", err)
	}
	var ports, plugged, addressed []string
	for _, i := range interfaces {
		// A mesh is built on a network; it is none.
		if i.Flags&net.FlagLoopback != 0 || strings.HasPrefix(i.Name, "atoll") {
			continue
		}
		ports = append(ports, i.Name)
		// An address stays on a port that has lost its cable, and is of no use there.
		if i.Flags&net.FlagRunning == 0 {
			continue
		}
		plugged = append(plugged, i.Name)
		addresses, err := i.Addrs()
		if err != nil {
			continue
		}
		for _, a := range addresses {
			if ip, ok := a.(*net.IPNet); ok && ip.IP.IsGlobalUnicast() {
				addressed = append(addressed, fmt.Sprintf("%s on %s", ip.IP, i.Name))
			}
		}
	}
	switch {
	case len(ports) == 0:
		return "no network interface: the driver or its firmware may be missing"
	case len(addressed) == 0 && len(plugged) == 0:
		return fmt.Sprintf("no cable in %s, or the port is down", strings.Join(ports, ", "))
	case len(addressed) == 0:
		return fmt.Sprintf("no address on %s yet: no DHCP server has answered, and no fixed address is set", strings.Join(plugged, ", "))
	case !anyLine("/proc/net/route", isDefaultIPv4) && !anyLine("/proc/net/ipv6_route", isDefaultIPv6):
		return fmt.Sprintf("an address (%s) but no default route", strings.Join(addressed, ", "))
	}
	return ""
}

// isDefaultIPv4 looks at a line of /proc/net/route: destination and mask are zero.
func isDefaultIPv4(words []string) bool {
	return len(words) > 7 && words[1] == "00000000" && words[7] == "00000000"
}

// isDefaultIPv6 looks at a line of /proc/net/ipv6_route: the prefix has no bits. The loopback has such a route that rejects.
func isDefaultIPv6(words []string) bool {
	return len(words) > 9 && strings.Trim(words[0], "0") == "" && words[1] == "00" && words[9] != "lo"
}

// anyLine tells whether f is true for the words of some line of a file. A file that is not there, as that of IPv6 where it
// is switched off, has no lines.
func anyLine(path string, f func(words []string) bool) bool {
	data, err := os.ReadFile(path)
	if err != nil {
		return false
	}
	for line := range strings.Lines(string(data)) {
		if f(strings.Fields(line)) {
			return true
		}
	}
	return false
}
