//go:build linux

package network_test

import (
	"fmt"
	"net/netip"
	"testing"

	"github.com/atollhq/terraform-provider-atoll/internal/lab/network"
)

func TestPlanGivesEachSiteItsSubnet(t *testing.T) {
	p := network.NewPlan()
	tests := []struct {
		site, host       string
		want, want6, via string
	}{
		{network.SiteColo, "hk1", "198.51.100.10", "2001:db8:0:1::a", "198.51.100.1"},
		{network.SiteColo, "hk3", "198.51.100.11", "2001:db8:0:1::b", "198.51.100.1"},
		{network.SiteVPS, "hk2", "198.51.100.74", "2001:db8:0:2::a", "198.51.100.65"},
		{"ap-south", "sg1", "203.0.113.10", "2001:db8:0:3::a", "203.0.113.1"},
		{"jp-osa", "jp1", "203.0.113.74", "2001:db8:0:4::a", "203.0.113.65"},
		{"ap-south", "sg2", "203.0.113.11", "2001:db8:0:3::b", "203.0.113.1"},
	}
	for _, tt := range tests {
		got, err := p.Take(tt.site, tt.host)
		if err != nil {
			t.Fatal(err)
		}
		want := network.Addresses{
			IPv4: netip.MustParseAddr(tt.want), IPv6: netip.MustParseAddr(tt.want6), Gateway: netip.MustParseAddr(tt.via),
		}
		if got != want {
			t.Errorf("%s at %s: got %v, want %v", tt.host, tt.site, got, want)
		}
	}
}

func TestPlanDoesNotReuseAnAddressAtOnce(t *testing.T) {
	p := network.NewPlan()
	first, err := p.Take("ap-south", "sg1")
	if err != nil {
		t.Fatal(err)
	}
	p.Give(first)
	second, err := p.Take("ap-south", "sg1")
	if err != nil {
		t.Fatal(err)
	}
	if first == second {
		t.Errorf("a host made again got its predecessor's address %v", first.IPv4)
	}
}

func TestPlanFillsAndRefillsASite(t *testing.T) {
	p := network.NewPlan()
	seen := map[netip.Addr]bool{}
	var last network.Addresses
	for i := range 53 {
		a, err := p.Take(network.SiteColo, fmt.Sprint("h", i))
		if err != nil {
			t.Fatalf("host %d: %v", i, err)
		}
		if seen[a.IPv4] || !netip.MustParsePrefix("198.51.100.0/26").Contains(a.IPv4) || a.IPv4 == netip.MustParseAddr("198.51.100.63") {
			t.Fatalf("host %d got %v", i, a.IPv4)
		}
		seen[a.IPv4], last = true, a
	}
	if a, err := p.Take(network.SiteColo, "one-too-many"); err == nil {
		t.Fatalf("a full site gave %v", a.IPv4)
	}
	p.Give(last)
	if a, err := p.Take(network.SiteColo, "again"); err != nil || a != last {
		t.Errorf("the only free address: got %v, %v, want %v", a, err, last)
	}
}

func TestPlanRunsOutOfRegions(t *testing.T) {
	p := network.NewPlan()
	for i := range 8 {
		if _, err := p.Take(fmt.Sprint("region", i), "h"); err != nil {
			t.Fatal(err)
		}
	}
	if _, err := p.Take("region8", "h"); err == nil {
		t.Error("a ninth region got a subnet")
	}
	if _, err := p.Take("region7", "h2"); err != nil {
		t.Errorf("a region that has its subnet: %v", err)
	}
}
