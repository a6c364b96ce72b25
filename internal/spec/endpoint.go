package spec

import (
	"net"
	"net/netip"
	"regexp"
	"strconv"
	"strings"
)

var hostNamePattern = regexp.MustCompile(`^([a-z0-9]([a-z0-9-]{0,61}[a-z0-9])?\.)*[a-z0-9]([a-z0-9-]{0,61}[a-z0-9])?$`)

// ValidateHost reports what keeps host from being an IP address or a host name (RFC 1123).
func ValidateHost(field, host string) Problems {
	var ps Problems
	if _, err := netip.ParseAddr(host); err == nil {
		return nil
	}
	if len(host) > 253 || !hostNamePattern.MatchString(strings.ToLower(host)) {
		ps.add(field, "give an IP address or a host name", "%q is neither an IP address nor a host name", host)
	}
	return ps
}

// ValidateEndpoint reports what keeps endpoint from being "host:port".
func ValidateEndpoint(field, endpoint string) Problems {
	var ps Problems
	host, port, err := net.SplitHostPort(endpoint)
	if err != nil {
		ps.add(field, "write host:port, an IPv6 address in brackets", "%q is not host:port", endpoint)
		return ps
	}
	if n, err := strconv.Atoi(port); err != nil || n < 1 || n > 65535 {
		ps.add(field, "choose a port from 1 to 65535", "%q has no valid port", endpoint)
	}
	return append(ps, ValidateHost(field, host)...)
}
