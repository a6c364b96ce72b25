package host_test

import (
	"net/netip"
	"os/exec"
	"runtime"
	"slices"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/atollhq/terraform-provider-atoll/internal/host"
)

// TestNetDevice looks at this machine's loopback interface and at one that does not exist: by asking the kernel, and by the
// command that is run where that is not possible.
func TestNetDevice(t *testing.T) {
	if _, err := exec.LookPath("ip"); err != nil || runtime.GOOS != "linux" {
		t.Skip("THE INTERFACES WERE NOT LOOKED AT: there is no ip command")
	}
	order := func(a, b netip.Prefix) int { return a.Addr().Compare(b.Addr()) }
	for _, name := range []string{"lo", "atoll-none"} {
		byKernel, err := host.LookAtNetDevice(t.Context(), host.Real(), name)
		if err != nil {
			t.Fatal(err)
		}
		byCommand, err := host.LookAtNetDevice(t.Context(), host.Within("/", "env"), name)
		if err != nil {
			t.Fatal(err)
		}
		slices.SortFunc(byKernel.Addresses, order)
		slices.SortFunc(byCommand.Addresses, order)
		same := cmp.Comparer(func(a, b netip.Prefix) bool { return a == b })
		if diff := cmp.Diff(byCommand, byKernel, same); diff != "" {
			t.Errorf("%s: the command (-) and the kernel (+) differ:\n%s", name, diff)
		}
		if byKernel.Exists != (name == "lo") {
			t.Errorf("%s: got %+v", name, byKernel)
		}
	}
}
