//go:build linux

package network_test

import (
	"flag"
	"net/netip"
	"os"
	"path/filepath"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/atollhq/terraform-provider-atoll/internal/lab/network"
)

var update = flag.Bool("update", false, "rewrite the golden files")

func TestRuleset(t *testing.T) {
	prefixes := func(list ...string) (p []netip.Prefix) {
		for _, s := range list {
			p = append(p, netip.MustParsePrefix(s))
		}
		return p
	}
	known := map[string][]netip.Prefix{
		"hk1":      prefixes("198.51.100.10/32", "2001:db8:0:1::a/128"),
		"sg1":      prefixes("203.0.113.10/32", "2001:db8:0:3::a/128"),
		"ap-south": prefixes("203.0.113.0/26", "2001:db8:0:3::/64"),
		"*":        prefixes("0.0.0.0/0", "::/0"),
	}
	tests := []struct {
		name string
		in   []network.Impairment
	}{
		{"none", nil},
		{"cut", []network.Impairment{{From: "hk1", To: "sg1", Percent: 100}, {From: "sg1", To: "hk1", Percent: 100}}},
		{"loss", []network.Impairment{{From: "hk1", To: "ap-south", Percent: 30}}},
		{"unplugged", []network.Impairment{{From: "hk1", To: "*", Percent: 100}, {From: "*", To: "hk1", Percent: 100}}},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			got, err := network.Ruleset(tt.in, known)
			if err != nil {
				t.Fatal(err)
			}
			golden := filepath.Join("testdata", tt.name+".nft")
			if *update {
				if err := os.WriteFile(golden, []byte(got), 0o600); err != nil {
					t.Fatal(err)
				}
			}
			want, err := os.ReadFile(golden)
			if err != nil {
				t.Fatal(err)
			}
			if diff := cmp.Diff(string(want), got); diff != "" {
				t.Errorf("rules differ (-want +got):\n%s", diff)
			}
		})
	}
}

func TestImpairmentString(t *testing.T) {
	tests := []struct {
		in   network.Impairment
		want string
	}{
		{network.Impairment{From: "a", To: "b", Percent: 100}, "a -> b cut"},
		{network.Impairment{From: "a", To: "b", Percent: 30}, "a -> b loses 30%"},
	}
	for _, tt := range tests {
		if got := tt.in.String(); got != tt.want {
			t.Errorf("got %q, want %q", got, tt.want)
		}
	}
}
