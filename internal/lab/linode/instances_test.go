package linode_test

import (
	"errors"
	"net/http"
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/linode/linodego"

	"github.com/atollhq/terraform-provider-atoll/internal/lab/linode"
)

func TestInstanceLife(t *testing.T) {
	ctx, s := t.Context(), &linode.Server{}
	c := serve(t, s)

	poller, err := c.NewEventPollerWithoutEntity(linodego.EntityLinode, linodego.ActionLinodeCreate)
	if err != nil {
		t.Fatal(err)
	}
	made := create(ctx, t, c, "sg1")
	if made.Status != linodego.InstanceProvisioning || len(made.IPv4) != 1 || made.IPv6 == "" || !made.HasUserData {
		t.Fatalf("first answer: status %s, ipv4 %v, ipv6 %q, has_user_data %v", made.Status, made.IPv4, made.IPv6, made.HasUserData)
	}
	boot, err := c.NewEventPoller(ctx, made.ID, linodego.EntityLinode, linodego.ActionLinodeBoot)
	if err != nil {
		t.Fatal(err)
	}
	poller.EntityID = made.ID
	event, err := poller.WaitForFinished(ctx, 10)
	if err != nil {
		t.Fatal(err)
	}
	if event.PercentComplete != 100 || event.SecondaryEntity == nil || event.SecondaryEntity.ID != "private/1" {
		t.Errorf("creation event: %d %%, secondary entity %+v", event.PercentComplete, event.SecondaryEntity)
	}
	if event, err = boot.WaitForFinished(ctx, 10); err != nil {
		t.Fatal(err)
	}
	if event.SecondaryEntity == nil || event.SecondaryEntity.Type != "linode_config" {
		t.Errorf("boot event: secondary entity %+v", event.SecondaryEntity)
	}
	running, err := c.WaitForInstanceStatus(ctx, made.ID, linodego.InstanceRunning, 10)
	if err != nil {
		t.Fatal(err)
	}

	label, tags := "sg1-renamed", []string{"later"}
	updated, err := c.UpdateInstance(ctx, running.ID, linodego.InstanceUpdateOptions{Label: label, Tags: &tags})
	if err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(tags, updated.Tags); diff != "" || updated.Label != label {
		t.Errorf("after the update: label %q, tags (-want +got)\n%s", updated.Label, diff)
	}

	for _, step := range []struct {
		name   string
		do     func() error
		action linodego.EventAction
		want   linodego.InstanceStatus
	}{
		{"shutdown", func() error { return c.ShutdownInstance(ctx, made.ID) }, linodego.ActionLinodeShutdown, linodego.InstanceOffline},
		{"boot", func() error { return c.BootInstance(ctx, made.ID, 0) }, linodego.ActionLinodeBoot, linodego.InstanceRunning},
		{"reboot", func() error { return c.RebootInstance(ctx, made.ID, 0) }, linodego.ActionLinodeReboot, linodego.InstanceRunning},
	} {
		poller, err := c.NewEventPoller(ctx, made.ID, linodego.EntityLinode, step.action)
		if err != nil {
			t.Fatal(err)
		}
		if err := step.do(); err != nil {
			t.Fatalf("%s: %v", step.name, err)
		}
		if _, err := poller.WaitForFinished(ctx, 10); err != nil {
			t.Fatalf("%s: %v", step.name, err)
		}
		got, err := c.GetInstance(ctx, made.ID)
		if err != nil || got.Status != step.want {
			t.Fatalf("after %s: status %v, error %v, want %s", step.name, got, err, step.want)
		}
	}

	deleted, err := c.NewEventPoller(ctx, made.ID, linodego.EntityLinode, linodego.ActionLinodeDelete)
	if err != nil {
		t.Fatal(err)
	}
	if err := c.DeleteInstance(ctx, made.ID); err != nil {
		t.Fatal(err)
	}
	if _, err = c.GetInstance(ctx, made.ID); !linodego.IsNotFound(err) {
		t.Errorf("after the deletion: error %v, want not found", err)
	}
	var typed *linodego.Error
	if !errors.As(err, &typed) || typed.Code != http.StatusNotFound {
		t.Errorf("after the deletion: error %#v is not a *linodego.Error", err)
	}
	if _, err := deleted.WaitForFinished(ctx, 10); err != nil {
		t.Error(err)
	}
	if got := s.Instances(); len(got) != 0 {
		t.Errorf("instances left: %v", got)
	}
}

func TestInstanceStatusesInOrder(t *testing.T) {
	ctx := t.Context()
	c := serve(t, &linode.Server{})
	made := create(ctx, t, c, "sg1")
	got := []linodego.InstanceStatus{made.Status}
	for got[len(got)-1] != linodego.InstanceRunning && len(got) < 20 {
		i, err := c.GetInstance(ctx, made.ID)
		if err != nil {
			t.Fatal(err)
		}
		if i.Status != got[len(got)-1] {
			got = append(got, i.Status)
		}
	}
	want := []linodego.InstanceStatus{linodego.InstanceProvisioning, linodego.InstanceBooting, linodego.InstanceRunning}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("statuses (-want +got)\n%s", diff)
	}
}

func TestRebuildKeepsAddresses(t *testing.T) {
	ctx := t.Context()
	c := serve(t, &linode.Server{Instant: true})
	made := create(ctx, t, c, "sg1")
	rebuilt, err := c.RebuildInstance(ctx, made.ID, linodego.InstanceRebuildOptions{
		Image: "linode/debian13", AuthorizedKeys: node("").AuthorizedKeys,
	})
	if err != nil {
		t.Fatal(err)
	}
	if rebuilt.Status != linodego.InstanceRebuilding || rebuilt.HasUserData || rebuilt.Image != "linode/debian13" {
		t.Errorf("status %s, has_user_data %v, image %s", rebuilt.Status, rebuilt.HasUserData, rebuilt.Image)
	}
	running, err := c.WaitForInstanceStatus(ctx, made.ID, linodego.InstanceRunning, 10)
	if err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(made.IPv4, running.IPv4); diff != "" {
		t.Errorf("addresses (-want +got)\n%s", diff)
	}
}
