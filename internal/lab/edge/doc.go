// Package edge proxies HTTP for the hostnames of an emulated Cloudflare account, as the vendor's network does for those of
// a real one: its monitors check every endpoint, its steering chooses among the pools and endpoints that are well, sessions
// stick by cookie, and a request that could not be connected is tried once more elsewhere.
//
// What it does is what the vendor documents of load balancing (health details, session affinity, adaptive routing, planned
// maintenance, steering policies) and of its errors 520 to 530. There is one place that checks and one that proxies, so
// majorities of regions do not appear. It connects to
// endpoints as a zone with the TLS mode "Full (strict)" does: by the protocol that the client came by.
package edge
