package cloudflare

import (
	"net/http"
	"strings"
)

// Permission is one that a token may have, by the vendor's name for it in the API. The dashboard says Edit instead of Write.
type Permission struct {
	Name string
	// Scope is what the permission is given for: "account" or "zone".
	Scope string
}

// String names the permission and what it is given for.
func (p Permission) String() string { return "\"" + p.Name + "\" (" + p.Scope + ")" }

// Permissions of the requests of this package (from x-api-token-group in the vendor's API document).

// PermissionPools is needed for monitors and pools.
func PermissionPools(write bool) Permission {
	return Permission{"Load Balancing: Monitors and Pools " + access(write), "account"}
}

// PermissionBalancers is needed for load balancers.
func PermissionBalancers(write bool) Permission {
	return Permission{"Load Balancers " + access(write), "zone"}
}

// PermissionDNS is needed for DNS records.
func PermissionDNS(write bool) Permission { return Permission{"DNS " + access(write), "zone"} }

// PermissionZone is needed to find a zone by its name.
func PermissionZone() Permission { return Permission{"Zone Read", "zone"} }

// PermissionCertificates is needed for certificates of the Origin CA.
func PermissionCertificates(write bool) Permission {
	return Permission{"SSL and Certificates " + access(write), "zone"}
}

func access(write bool) string {
	if write {
		return "Write"
	}
	return "Read"
}

// permissionFor returns what a request needs; the API refuses it without saying.
func permissionFor(r *http.Request) Permission {
	write := r.Method != http.MethodGet
	switch path := r.URL.Path; {
	case strings.Contains(path, "/load_balancers/monitors"), strings.Contains(path, "/load_balancers/pools"),
		strings.HasSuffix(path, "/load_balancers/usage"):
		return PermissionPools(write)
	case strings.Contains(path, "/load_balancers"):
		return PermissionBalancers(write)
	case strings.Contains(path, "/certificates"):
		return PermissionCertificates(write)
	case strings.Contains(path, "/dns_records"):
		return PermissionDNS(write)
	default:
		return PermissionZone()
	}
}
