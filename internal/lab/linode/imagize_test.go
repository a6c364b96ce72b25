package linode_test

import (
	"context"
	"errors"
	"os"
	"path/filepath"
	"testing"

	"github.com/linode/linodego"

	"github.com/atollhq/terraform-provider-atoll/internal/lab/await"
	"github.com/atollhq/terraform-provider-atoll/internal/lab/linode"
)

// drives are machines with disks.
type drives struct {
	bench
	path string
	err  error
}

func (d *drives) Disk(context.Context, int) (string, error) { return d.path, d.err }

// offInstance returns an instance that is off, and its root disk.
func offInstance(ctx context.Context, t *testing.T, api *linodego.Client) (*linodego.Instance, linodego.InstanceDisk) {
	t.Helper()
	made := create(ctx, t, api, "builder")
	if err := api.ShutdownInstance(ctx, made.ID); err != nil {
		t.Fatal(err)
	}
	if _, err := api.WaitForInstanceStatus(ctx, made.ID, linodego.InstanceOffline, 10); err != nil {
		t.Fatal(err)
	}
	disks, err := api.ListInstanceDisks(ctx, made.ID, nil)
	if err != nil || len(disks) != 2 {
		t.Fatalf("disks %v, error %v", disks, err)
	}
	return made, disks[0]
}

func TestImageOfADisk(t *testing.T) {
	ctx := t.Context()
	disk := filepath.Join(t.TempDir(), "disk.img")
	if err := os.WriteFile(disk, fileSystem(t, "200M"), 0o600); err != nil {
		t.Fatal(err)
	}
	qcow2 := disk + ".qcow2"
	tool(t, "qemu-img", "convert", "-O", "qcow2", disk, qcow2)
	for name, machines := range map[string]linode.Machines{
		"in memory": nil, "machines without disks": &bench{}, "raw": &drives{path: disk}, "qcow2": &drives{path: qcow2},
	} {
		t.Run(name, func(t *testing.T) {
			s := &linode.Server{Machines: machines, ImageDir: t.TempDir()}
			api := serve(t, s)
			made, root := offInstance(ctx, t, api)
			poller, err := api.NewEventPoller(ctx, made.ID, linodego.EntityLinode, linodego.ActionDiskImagize)
			if err != nil {
				t.Fatal(err)
			}
			image, err := api.CreateImage(ctx, linodego.ImageCreateOptions{DiskID: root.ID, Label: "gold", CloudInit: true, Tags: &[]string{"atoll"}})
			if err != nil || image.Status != linodego.ImageStatusCreating || image.Size != root.Size {
				t.Fatalf("image %+v, error %v", image, err)
			}
			// Older clients wait for the disk instead of the event, and delete the instance then.
			if _, err := api.WaitForInstanceDiskStatus(ctx, made.ID, root.ID, linodego.DiskReady, 10); err != nil {
				t.Fatal(err)
			}
			if got, err := api.GetImage(ctx, image.ID); err != nil || got.Status != linodego.ImageStatusAvailable {
				t.Errorf("the disk is ready, the image %+v, error %v", got, err)
			}
			if _, err := poller.WaitForFinished(ctx, 10); err != nil {
				t.Fatal(err)
			}
			if image, err = api.GetImage(ctx, image.ID); err != nil || image.Status != linodego.ImageStatusAvailable {
				t.Fatalf("image %+v, error %v", image, err)
			}
			content, ok := s.Content(image.ID)
			if _, has := machines.(*drives); has != ok {
				t.Fatalf("content %+v", content)
			}
			if ok && (image.Size < 1 || image.Size > 100) {
				t.Errorf("an empty file system of 200 MB makes an image of %d MB", image.Size)
			}
			if ok {
				tool(t, "e2fsck", "-fn", filepath.Join(s.ImageDir, content.Name))
			}
		})
	}
}

func TestImageOfADiskThatCannotBeMade(t *testing.T) {
	ctx := t.Context()
	s := &linode.Server{Machines: &drives{err: errors.New("the machine runs")}}
	api := serve(t, s)
	_, root := offInstance(ctx, t, api)
	image, err := api.CreateImage(ctx, linodego.ImageCreateOptions{DiskID: root.ID, Label: "gold"})
	if err != nil {
		t.Fatal(err)
	}
	await.True(t, "the image is gone", patience, func() bool {
		_, err := api.GetImage(ctx, image.ID)
		return linodego.IsNotFound(err)
	})
	events, err := api.ListEvents(ctx, linodego.NewListOptions(0, `{"action":"disk_imagize"}`))
	if err != nil || len(events) != 1 || events[0].Status != linodego.EventFailed || events[0].Message != "the machine runs" {
		t.Errorf("events %+v, error %v", events, err)
	}
	for name, id := range map[string]int{"a swap disk": root.ID + 1, "no disk": 404} {
		if _, err := api.CreateImage(ctx, linodego.ImageCreateOptions{DiskID: id, Label: "gold"}); status(err) != 400 && status(err) != 404 {
			t.Errorf("%s: error %v", name, err)
		}
	}
}

// TestImageOfADiskNeedsTwoScopes: it reads a Linode and makes an image.
func TestImageOfADiskNeedsTwoScopes(t *testing.T) {
	const half, whole = "half", "whole"
	s := &linode.Server{Scopes: map[string]string{half: "images:read_write", whole: "images:*,linodes:read_only"}}
	url := serveRaw(t, s)
	for token, want := range map[string]int{half: 401, whole: 404} {
		_, err := client(url, token).CreateImage(t.Context(), linodego.ImageCreateOptions{DiskID: 1, Label: "gold"})
		if status(err) != want {
			t.Errorf("%s: error %v, want %d", token, err, want)
		}
	}
}
