package linode_test

import (
	"context"
	"errors"
	"fmt"
	"net/netip"
	"slices"
	"sync"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/linode/linodego"

	"github.com/atollhq/terraform-provider-atoll/internal/lab/await"
	"github.com/atollhq/terraform-provider-atoll/internal/lab/linode"
)

// patience is how long things that happen by themselves may take.
const patience = 10 * time.Second

// bench is a set of machines that only write down what they were told. A call whose name is in hold
// waits for its channel.
type bench struct {
	mu    sync.Mutex
	calls []string
	made  []linode.Machine
	fail  map[string]error
	hold  map[string]chan struct{}
}

func (b *bench) call(ctx context.Context, name string, id int) error {
	if wait := b.hold[name]; wait != nil {
		select {
		case <-wait:
		case <-ctx.Done():
			return ctx.Err()
		}
	}
	b.mu.Lock()
	defer b.mu.Unlock()
	b.calls = append(b.calls, fmt.Sprintf("%s %d", name, id-90_000_000))
	return b.fail[name]
}

func (b *bench) Create(ctx context.Context, m linode.Machine) (linode.Addresses, error) {
	b.mu.Lock()
	b.made = append(b.made, m)
	n := len(b.made)
	b.mu.Unlock()
	return linode.Addresses{IPv4: netip.AddrFrom4([4]byte{203, 0, 113, byte(n + 1)}), Prefix: 26}, b.call(ctx, "create", m.ID)
}
func (b *bench) Boot(ctx context.Context, id int) error     { return b.call(ctx, "boot", id) }
func (b *bench) Shutdown(ctx context.Context, id int) error { return b.call(ctx, "shutdown", id) }
func (b *bench) Reboot(ctx context.Context, id int) error   { return b.call(ctx, "reboot", id) }
func (b *bench) Delete(ctx context.Context, id int) error   { return b.call(ctx, "delete", id) }

func (b *bench) log() []string {
	b.mu.Lock()
	defer b.mu.Unlock()
	return slices.Clone(b.calls)
}

func TestMachinesFollowTheAPI(t *testing.T) {
	ctx, b := t.Context(), &bench{}
	s := &linode.Server{Machines: b}
	api := serve(t, s)
	made := create(ctx, t, api, "sg1")
	if got := made.IPv4[0].String(); got != "203.0.113.2" {
		t.Errorf("address %s is not the machine's", got)
	}
	if _, err := api.WaitForInstanceStatus(ctx, made.ID, linodego.InstanceRunning, 10); err != nil {
		t.Fatal(err)
	}
	ips, err := api.GetInstanceIPAddresses(ctx, made.ID)
	if err != nil || ips.IPv4.Public[0].Gateway != "203.0.113.1" || ips.IPv4.Public[0].SubnetMask != "255.255.255.192" {
		t.Errorf("addresses %+v, error %v", ips, err)
	}
	if err := api.RebootInstance(ctx, made.ID, 0); err != nil {
		t.Fatal(err)
	}
	if err := api.ShutdownInstance(ctx, made.ID); err != nil { // tries again while the reboot lasts
		t.Fatal(err)
	}
	if _, err := api.WaitForInstanceStatus(ctx, made.ID, linodego.InstanceOffline, 10); err != nil {
		t.Fatal(err)
	}
	if err := api.DeleteInstance(ctx, made.ID); err != nil {
		t.Fatal(err)
	}
	want := []string{"create 1", "boot 1", "reboot 1", "shutdown 1", "delete 1"}
	await.True(t, "the deletion", patience, func() bool { return len(b.log()) == len(want) })
	if diff := cmp.Diff(want, b.log()); diff != "" {
		t.Errorf("calls (-want +got)\n%s", diff)
	}
	m := b.made[0]
	if string(m.UserData) != `{"atoll":1}` || m.Image != "private/1" || m.Region != "ap-south" || m.Memory != 1024 || len(m.AuthorizedKeys) != 1 {
		t.Errorf("machine %+v", m)
	}
}

func TestMachineThatCannotBeMade(t *testing.T) {
	ctx := t.Context()
	s := &linode.Server{Machines: &bench{fail: map[string]error{"create": errors.New("no space left")}}}
	api := serve(t, s)
	_, err := api.CreateInstance(ctx, node("sg1"))
	var e *linodego.Error
	if !errors.As(err, &e) || e.Code != 500 {
		t.Errorf("error %v", err)
	}
	if got := len(s.Instances()); got != 0 {
		t.Errorf("%d instances without a machine", got)
	}
}

func TestMachineThatDoesNotBoot(t *testing.T) {
	ctx := t.Context()
	s := &linode.Server{Machines: &bench{fail: map[string]error{"boot": errors.New("kernel panic")}}}
	api := serve(t, s)
	made := create(ctx, t, api, "sg1")
	if _, err := api.WaitForInstanceStatus(ctx, made.ID, linodego.InstanceOffline, 10); err != nil {
		t.Fatal(err)
	}
	events, err := api.ListEvents(ctx, linodego.NewListOptions(0, `{"action":"linode_boot"}`))
	if err != nil || len(events) != 1 || events[0].Status != linodego.EventFailed || events[0].Message != "kernel panic" {
		t.Errorf("events %+v, error %v", events, err)
	}
}

func TestDeletionStopsABoot(t *testing.T) {
	ctx, b := t.Context(), &bench{hold: map[string]chan struct{}{"boot": make(chan struct{})}}
	s := &linode.Server{Machines: b}
	api := serve(t, s)
	made := create(ctx, t, api, "sg1")
	if _, err := api.WaitForInstanceStatus(ctx, made.ID, linodego.InstanceBooting, 10); err != nil {
		t.Fatal(err)
	}
	if err := api.DeleteInstance(ctx, made.ID); err != nil {
		t.Fatal(err)
	}
	await.True(t, "the deletion of a machine that boots", patience, func() bool { return slices.Contains(b.log(), "delete 1") })
	create(ctx, t, api, "sg1") // the label is free again
}

func TestTwoAtOnceWithOneLabel(t *testing.T) {
	ctx, b := t.Context(), &bench{hold: map[string]chan struct{}{"create": make(chan struct{})}}
	s := &linode.Server{Machines: b}
	api := serve(t, s)
	first := make(chan error, 1)
	go func() {
		_, err := api.CreateInstance(ctx, node("sg1"))
		first <- err
	}()
	await.True(t, "the first creation", patience, func() bool {
		b.mu.Lock()
		defer b.mu.Unlock()
		return len(b.made) == 1
	})
	if _, err := api.CreateInstance(ctx, node("sg1")); err == nil {
		t.Error("two instances with one label")
	}
	close(b.hold["create"])
	if err := <-first; err != nil {
		t.Error(err)
	}
}

func TestPowerCut(t *testing.T) {
	ctx := t.Context()
	s := &linode.Server{Machines: &bench{}}
	api := serve(t, s)
	made := create(ctx, t, api, "sg1")
	if _, err := api.WaitForInstanceStatus(ctx, made.ID, linodego.InstanceRunning, 10); err != nil {
		t.Fatal(err)
	}
	for running, want := range map[bool]linodego.InstanceStatus{false: linodego.InstanceOffline, true: linodego.InstanceRunning} {
		s.SetRunning(made.ID, running)
		if got, err := api.GetInstance(ctx, made.ID); err != nil || got.Status != want {
			t.Errorf("status %v, error %v, want %s", got, err, want)
		}
	}
	s.SetRunning(404, true) // must not panic
}

// TestRestart stops a server in the middle of a boot and of a deletion; the next one ends both.
func TestRestart(t *testing.T) {
	ctx := t.Context()
	never := make(chan struct{})
	before := &bench{hold: map[string]chan struct{}{"delete": never}}
	first := &linode.Server{Machines: before}
	api := serve(t, first)
	kept := create(ctx, t, api, "kept")
	gone := create(ctx, t, api, "gone")
	for _, i := range []*linodego.Instance{kept, gone} {
		if _, err := api.WaitForInstanceStatus(ctx, i.ID, linodego.InstanceRunning, 10); err != nil {
			t.Fatal(err)
		}
	}
	before.hold["boot"] = never
	booting := create(ctx, t, api, "booting")
	if _, err := api.WaitForInstanceStatus(ctx, booting.ID, linodego.InstanceBooting, 10); err != nil {
		t.Fatal(err)
	}
	if err := api.DeleteInstance(ctx, gone.ID); err != nil {
		t.Fatal(err)
	}
	first.Close()
	saved, err := first.Snapshot()
	if err != nil {
		t.Fatal(err)
	}

	after := &bench{}
	second := &linode.Server{Machines: after, Images: []linode.Image{{ID: "private/1", Label: "newer"}}}
	if err := second.Restore(saved); err != nil {
		t.Fatal(err)
	}
	api = serve(t, second)
	if _, err := api.WaitForInstanceStatus(ctx, booting.ID, linodego.InstanceRunning, 10); err != nil {
		t.Fatal(err)
	}
	await.True(t, "both jobs", patience, func() bool { return len(after.log()) == 2 })
	got := after.log()
	slices.Sort(got)
	want := []string{fmt.Sprintf("boot %d", booting.ID-90_000_000), fmt.Sprintf("delete %d", gone.ID-90_000_000)}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("calls after the restart (-want +got)\n%s", diff)
	}
	again, err := api.GetInstance(ctx, kept.ID)
	if err != nil || again.Status != linodego.InstanceRunning || again.IPv4[0].String() != kept.IPv4[0].String() || !again.Created.Equal(*kept.Created) {
		t.Errorf("instance %+v, error %v", again, err)
	}
	if image, err := api.GetImage(ctx, "private/1"); err != nil || image.Label != "newer" {
		t.Errorf("image %+v, error %v", image, err)
	}
	if next := create(ctx, t, api, "fresh"); next.ID <= booting.ID {
		t.Errorf("ID %d was used before", next.ID)
	}
}

func TestRestoreRefusesWhatItDoesNotKnow(t *testing.T) {
	for name, data := range map[string]string{"no JSON": "{", "another version": `{"version":99}`} {
		if err := (&linode.Server{}).Restore([]byte(data)); err == nil {
			t.Errorf("%s: no error", name)
		}
	}
}

func TestOnChange(t *testing.T) {
	var mu sync.Mutex
	n := 0
	s := &linode.Server{Machines: &bench{}, OnChange: func() {
		mu.Lock()
		defer mu.Unlock()
		n++
	}}
	count := func() int {
		mu.Lock()
		defer mu.Unlock()
		return n
	}
	api := serve(t, s)
	made := create(t.Context(), t, api, "sg1")
	if _, err := api.WaitForInstanceStatus(t.Context(), made.ID, linodego.InstanceRunning, 10); err != nil {
		t.Fatal(err)
	}
	// The creation and its five steps.
	await.True(t, "changes", patience, func() bool { return count() == 6 })
	before := count()
	if _, err := api.GetInstance(t.Context(), made.ID); err != nil {
		t.Fatal(err)
	}
	if got := count(); got != before {
		t.Errorf("reading changed something: %d changes, then %d", before, got)
	}
}

func instancePath(id int) string { return fmt.Sprintf("/linode/instances/%d", id) }
