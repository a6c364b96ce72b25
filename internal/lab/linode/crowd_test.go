package linode_test

import (
	"fmt"
	"sync"
	"testing"

	"github.com/linode/linodego"

	"github.com/atollhq/terraform-provider-atoll/internal/lab/linode"
)

// TestCrowd is for the race detector, and for addresses and IDs that must differ.
func TestCrowd(t *testing.T) {
	const crowd = 25
	for name, s := range map[string]*linode.Server{"in memory": {}, "machines": {Machines: &bench{}}} {
		t.Run(name, func(t *testing.T) {
			ctx := t.Context()
			api := serve(t, s)
			var wait sync.WaitGroup
			for n := range crowd {
				wait.Go(func() {
					made, err := api.CreateInstance(ctx, node(fmt.Sprintf("node%02d", n)))
					if err != nil {
						t.Error(err)
						return
					}
					if _, err := api.WaitForInstanceStatus(ctx, made.ID, linodego.InstanceRunning, 20); err != nil {
						t.Error(err)
					}
					if _, err := api.ListEvents(ctx, nil); err != nil {
						t.Error(err)
					}
					if _, err := s.Snapshot(); err != nil {
						t.Error(err)
					}
					if n%2 == 0 {
						if err := api.DeleteInstance(ctx, made.ID); err != nil {
							t.Error(err)
						}
					}
				})
			}
			wait.Wait()
			left := s.Instances()
			addresses := map[string]bool{}
			for _, i := range left {
				addresses[i.IPv4[0].String()] = true
				addresses[i.IPv6.String()] = true
			}
			if len(left) != crowd/2 || len(addresses) != 2*len(left) {
				t.Errorf("%d instances with %d addresses, want %d with two each", len(left), len(addresses), crowd/2)
			}
		})
	}
}
