package host_test

import (
	"errors"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/atollhq/terraform-provider-atoll/internal/host"
	"github.com/atollhq/terraform-provider-atoll/internal/host/hosttest"
)

func TestApt(t *testing.T) {
	const install = "apt-get -q -o DPkg::Lock::Timeout=300 install --yes --no-install-recommends "
	const quiet = "systemctl disable --now tinc.service"
	const update = "apt-get -q -o DPkg::Lock::Timeout=300 update"
	tests := []struct {
		name      string
		installed string
		// fail is how many installations fail first; stale makes update fail.
		fail    int
		stale   bool
		changed bool
		wantErr bool
		want    []string
	}{
		{"all there", "tincd nft", 0, false, false, false, nil},
		{"one missing", "tincd", 0, false, true, false, []string{install + "nftables"}},
		{"all missing", "", 0, false, true, false, []string{install + "tinc nftables", quiet}},
		{"old lists", "nft", 1, false, true, false, []string{install + "tinc", update, install + "tinc", quiet}},
		{"no such package", "nft", 2, false, false, true, []string{install + "tinc", update, install + "tinc"}},
		{"no mirror", "nft", 2, true, false, true, []string{install + "tinc", update}},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			h := hosttest.New()
			h.Handle("sh", func(c host.Command) (host.Output, error) {
				binary := c.Args[len(c.Args)-1]
				if strings.Contains(tt.installed, binary) {
					return host.Output{}, nil
				}
				return host.Output{}, hosttest.Fail(c, 127, "")
			})
			fail := tt.fail
			h.Handle("apt-get", func(c host.Command) (host.Output, error) {
				if diff := cmp.Diff([]string{"DEBIAN_FRONTEND=noninteractive"}, c.Env); diff != "" {
					t.Errorf("environment (-want +got):\n%s", diff)
				}
				if strings.HasSuffix(c.String(), "update") {
					if tt.stale {
						return host.Output{}, hosttest.Fail(c, 100, "no mirror")
					}
					return host.Output{}, nil
				}
				if fail > 0 {
					fail--
					return host.Output{}, hosttest.Fail(c, 100, "unable to locate package")
				}
				return host.Output{}, nil
			})
			changed, err := host.NewApt(h).Ensure(t.Context(),
				host.Package{Name: "tinc", Binary: "tincd", Service: "tinc.service"}, host.Package{Name: "nftables", Binary: "nft"})
			if changed != tt.changed || (err != nil) != tt.wantErr {
				t.Errorf("changed %t, %v; want %t, error %t", changed, err, tt.changed, tt.wantErr)
			}
			var failed *host.CommandError
			if tt.wantErr && (!errors.As(err, &failed) || !strings.Contains(err.Error(), "tinc")) {
				t.Errorf("error %v does not say what failed", err)
			}
			var want string
			for _, c := range tt.want {
				want += "run " + c + "\n"
			}
			if diff := cmp.Diff(want, h.Text()); diff != "" {
				t.Errorf("commands (-want +got):\n%s", diff)
			}
		})
	}
}
