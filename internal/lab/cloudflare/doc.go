// Package cloudflare emulates the part of the Cloudflare API that serves hostnames by several machines: zones, DNS records,
// and load balancers with their pools and monitors.
//
// It answers what cloudflare-go asks for the calls that Atoll makes, in the shapes and with the defaults, errors, quotas and
// limits of the live service. In memory alone it serves the provider's acceptance tests; with an edge that measures and
// proxies (package edge) the hostnames work.
//
// Shapes are those of the vendor's document of 2026-08-14. Error codes are those of live answers that users of the
// vendor's Terraform provider and SDKs have published; where none is published, the code is one that the vendor's numbers
// leave free, and the comment on it says so.
package cloudflare
