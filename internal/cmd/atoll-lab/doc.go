// Atoll-lab runs a small internet with clouds on one Linux machine: sites behind a router, machines that really boot, and
// an emulated Linode API. Terraform, atoll and tests use it as if it were the real thing.
package main
