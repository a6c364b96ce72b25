package platform_test

import (
	"path/filepath"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/atollhq/terraform-provider-atoll/internal/platform"
)

func TestHardware(t *testing.T) {
	root := t.TempDir()
	for path, text := range map[string]string{
		"class/dmi/id/product_uuid":   "4C4C4544-0051-3010-8052-B4C04F4D3132\n",
		"class/dmi/id/product_serial": "7Q0R0M2\n",
		"class/dmi/id/board_serial":   "To Be Filled By O.E.M.\n",
		"class/net/eno1/address":      "D0:94:66:00:00:01\n", "class/net/eno1/addr_assign_type": "0\n", "class/net/eno1/device/x": "",
		"class/net/eno2/address": "d0:94:66:00:00:00\n", "class/net/eno2/addr_assign_type": "0\n", "class/net/eno2/device/x": "",
		"class/net/veth0/address": "d0:94:66:00:00:02\n", "class/net/veth0/addr_assign_type": "3\n",
		"class/net/random/address": "d0:94:66:00:00:03\n", "class/net/random/addr_assign_type": "1\n", "class/net/random/device/x": "",
		"class/net/lo/address": "00:00:00:00:00:00\n", "class/net/lo/addr_assign_type": "0\n",
	} {
		write(t, filepath.Join(root, "sys", path), []byte(text))
	}
	want := platform.Hardware{
		UUID: "4c4c4544-0051-3010-8052-b4c04f4d3132", Serial: "7Q0R0M2", MACs: []string{"d0:94:66:00:00:00", "d0:94:66:00:00:01"},
	}
	if diff := cmp.Diff(want, platform.Machine{Root: root}.Hardware()); diff != "" {
		t.Errorf("hardware (-want +got):\n%s", diff)
	}
	if none := (platform.Machine{Root: t.TempDir()}).Hardware(); !none.IsZero() {
		t.Errorf("nothing gave %v", none)
	}
	for _, text := range []string{"", "00000000-0000-0000-0000-000000000000", "FFFFFFFF-FFFF-FFFF-FFFF-FFFFFFFFFFFF", "..............", "Not Settable", "0"} {
		write(t, filepath.Join(root, "sys/class/dmi/id/product_uuid"), []byte(text+"\n"))
		if got := (platform.Machine{Root: root}).Hardware(); got.UUID != "" {
			t.Errorf("%q counts as a fact: %q", text, got.UUID)
		}
	}
}

func TestOtherHardware(t *testing.T) {
	dell := platform.Hardware{UUID: "a", Serial: "S1", Board: "B1", MACs: []string{"m1", "m2"}}
	tests := []struct {
		name string
		now  platform.Hardware
		want bool
	}{
		{"the same", dell, false},
		{"nothing known", platform.Hardware{}, false},
		{"another card", platform.Hardware{UUID: "a", Serial: "S1", Board: "B1", MACs: []string{"m3"}}, false},
		{"one card moved into a new machine", platform.Hardware{UUID: "b", Serial: "S2", Board: "B2", MACs: []string{"m2", "m3"}}, false},
		{"a new board in the old case", platform.Hardware{UUID: "b", Serial: "S1", Board: "B2", MACs: []string{"m3"}}, false},
		{"cards that are not there yet", platform.Hardware{UUID: "a", Serial: "S1", Board: "B1"}, false},
		{"another machine", platform.Hardware{UUID: "b", Serial: "S2", Board: "B2", MACs: []string{"m3"}}, true},
		{"another machine that says little", platform.Hardware{UUID: "b"}, true},
		{"ports alone", platform.Hardware{MACs: []string{"m3"}}, true},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			if got := dell.Other(tt.now); got != tt.want {
				t.Errorf("got %v, want %v", got, tt.want)
			}
			if got := tt.now.Other(dell); got != tt.want {
				t.Errorf("the other way round: got %v, want %v", got, tt.want)
			}
		})
	}
}
