// Package cloudflare keeps hostnames at Cloudflare: zones, load balancers with their pools and monitors, and DNS records.
//
// It is a thin layer over cloudflare-go, of which only the single services are used: its root package alone would double the
// provider's size. What the library leaves open, or does wrongly, is settled here: errors are typed and name the permission
// that a token lacks, requests cannot hang, the vendor's rate limit is kept, a create is never repeated blindly (the library
// sends it again after a lost answer, which makes doubles) but looked up by name first, pages are walked with the caller's
// context, and the health of a pool is read as the vendor really sends it.
//
// The version of the library is pinned exactly, since its minor releases break; no type of it leaves this package.
package cloudflare
