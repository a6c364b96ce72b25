package linode_test

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/linode/linodego"

	"github.com/atollhq/terraform-provider-atoll/internal/lab/await"
	"github.com/atollhq/terraform-provider-atoll/internal/lab/contract"
	"github.com/atollhq/terraform-provider-atoll/internal/lab/linode"
)

// uploaded returns an image that is available.
func uploaded(t *testing.T, api *linodego.Client, label string, raw []byte) *linodego.Image {
	t.Helper()
	image, to := announce(t, api, label)
	upload(t, to, gzipped(t, raw))
	image, err := api.WaitForImageStatus(t.Context(), image.ID, linodego.ImageStatusAvailable, 10)
	if err != nil {
		t.Fatal(err)
	}
	return image
}

func regions(image *linodego.Image) []string {
	var out []string
	for _, region := range image.Regions {
		out = append(out, region.Region+" "+string(region.Status))
	}
	return out
}

func TestReplicas(t *testing.T) {
	for name, machines := range map[string]linode.Machines{"in memory": nil, "machines": &bench{}} {
		t.Run(name, func(t *testing.T) {
			ctx := t.Context()
			api := serve(t, &linode.Server{Machines: machines})
			image := uploaded(t, api, "node", make([]byte, 3<<20))
			got, err := api.ReplicateImage(ctx, image.ID, linodego.ImageReplicateOptions{Regions: []string{"ap-south", "jp-osa"}})
			if err != nil {
				t.Fatal(err)
			}
			if diff := cmp.Diff([]string{"ap-south available", "jp-osa pending replication"}, regions(got)); diff != "" {
				t.Errorf("regions (-want +got)\n%s", diff)
			}
			got, err = api.WaitForImageRegionStatus(ctx, image.ID, "jp-osa", linodego.ImageRegionStatusAvailable)
			if err != nil || got.Size != 3 || got.TotalSize != 6 {
				t.Errorf("image %+v, error %v", got, err)
			}
			got, err = api.ReplicateImage(ctx, image.ID, linodego.ImageReplicateOptions{Regions: []string{"jp-osa"}})
			if err != nil || !slices.Equal(regions(got), []string{"ap-south pending deletion", "jp-osa available"}) {
				t.Errorf("regions %v, error %v", regions(got), err)
			}
			await.True(t, "the first copy is gone", patience, func() bool {
				got, err := api.GetImage(ctx, image.ID)
				return err == nil && slices.Equal(regions(got), []string{"jp-osa available"}) && got.TotalSize == 3
			})
		})
	}
}

func TestReplicasThatAreRefused(t *testing.T) {
	ctx := t.Context()
	api := serve(t, &linode.Server{})
	image := uploaded(t, api, "node", []byte("x"))
	waiting, _ := announce(t, api, "waiting")
	for name, test := range map[string]struct {
		id      string
		regions []string
		want    int
	}{
		"unknown region":            {image.ID, []string{"ap-south", "moon"}, 400},
		"none that has it":          {image.ID, []string{"jp-osa"}, 400},
		"none at all":               {image.ID, []string{}, 400},
		"an image without content":  {waiting.ID, []string{"ap-south"}, 400},
		"an image of the vendor's":  {"linode/debian13", []string{"ap-south"}, 403},
		"an image that is not here": {"private/404", []string{"ap-south"}, 404},
	} {
		if _, err := api.ReplicateImage(ctx, test.id, linodego.ImageReplicateOptions{Regions: test.regions}); status(err) != test.want {
			t.Errorf("%s: error %v, want %d", name, err, test.want)
		}
	}
}

func TestReplicationStuck(t *testing.T) {
	ctx, s := t.Context(), &linode.Server{}
	api := serve(t, s)
	image := uploaded(t, api, "node", []byte("x"))
	s.Inject(linode.Fault{PathPrefix: "/images/", Stuck: true})
	both := linodego.ImageReplicateOptions{Regions: []string{"ap-south", "jp-osa"}}
	if _, err := api.ReplicateImage(ctx, image.ID, both); err != nil {
		t.Fatal(err)
	}
	for range 5 {
		got, err := api.GetImage(ctx, image.ID)
		if err != nil || got.Regions[1].Status != linodego.ImageRegionStatusPendingReplication {
			t.Fatalf("image %+v, error %v", got, err)
		}
	}
	if _, err := api.ReplicateImage(ctx, image.ID, both); err != nil { // once more without the fault
		t.Fatal(err)
	}
	if _, err := api.WaitForImageRegionStatus(ctx, image.ID, "jp-osa", linodego.ImageRegionStatusAvailable); err != nil {
		t.Error(err)
	}
}

func TestUpdateImage(t *testing.T) {
	ctx := t.Context()
	api := serve(t, &linode.Server{})
	image := uploaded(t, api, "old name", []byte("x"))
	text := "another"
	got, err := api.UpdateImage(ctx, image.ID, linodego.ImageUpdateOptions{Label: "new name", Description: &text, Tags: &[]string{"zeta", "alpha"}})
	if err != nil || got.Label != "new name" || got.Description != text {
		t.Fatalf("image %+v, error %v", got, err)
	}
	if diff := cmp.Diff([]string{"alpha", "zeta"}, got.Tags); diff != "" {
		t.Errorf("tags (-want +got)\n%s", diff)
	}
	for filter, want := range map[string]int{
		`{"label":"new name"}`: 1, `{"tags":"zeta"}`: 1, `{"tags":"version-1"}`: 0, `{"status":"available","is_public":false}`: 2,
		`{"+and":[{"tags":"zeta"},{"tags":"alpha"}]}`: 1,
	} {
		list, err := api.ListImages(ctx, linodego.NewListOptions(0, filter))
		if err != nil || len(list) != want {
			t.Errorf("%s: %d images, error %v, want %d", filter, len(list), err, want)
		}
	}
	if _, err := api.UpdateImage(ctx, "linode/debian13", linodego.ImageUpdateOptions{Label: "mine"}); status(err) != 403 {
		t.Errorf("the vendor's image: error %v", err)
	}
}

func TestImagesAreRefusedAsTheVendorDoes(t *testing.T) {
	c := vendor(t).Fork()
	api := serveThrough(t, &linode.Server{}, c.Middleware)
	for name, test := range map[string]struct {
		change func(*linodego.ImageCreateUploadOptions)
		field  string
	}{
		"no label":       {func(o *linodego.ImageCreateUploadOptions) { o.Label = "" }, "label"},
		"long label":     {func(o *linodego.ImageCreateUploadOptions) { o.Label = strings.Repeat("x", 51) }, "label"},
		"strange label":  {func(o *linodego.ImageCreateUploadOptions) { o.Label = "a/b" }, "label"},
		"no region":      {func(o *linodego.ImageCreateUploadOptions) { o.Region = "" }, "region"},
		"unknown region": {func(o *linodego.ImageCreateUploadOptions) { o.Region = "moon" }, "region"},
		"short tag":      {func(o *linodego.ImageCreateUploadOptions) { o.Tags = &[]string{"x"} }, "tags"},
	} {
		t.Run(name, func(t *testing.T) {
			options := linodego.ImageCreateUploadOptions{Label: "node", Region: "ap-south"}
			test.change(&options)
			_, _, err := api.CreateImageUpload(t.Context(), options)
			var e *linodego.Error
			if !errors.As(err, &e) || e.Code != 400 || !strings.HasPrefix(e.Message, "["+test.field+"] ") {
				t.Errorf("error %v, want 400 about %s", err, test.field)
			}
		})
	}
	for _, v := range c.Violations() {
		if v.Part == contract.Response || v.Status < 400 {
			t.Errorf("contract: %v", v)
		}
	}
}

func TestImageQuota(t *testing.T) {
	ctx := t.Context()
	s := &linode.Server{Quota: linode.Quota{Images: 3}}
	api := serve(t, s)
	first, _ := announce(t, api, "one") // the account has private/1 already
	announce(t, api, "two")
	options := linodego.ImageCreateUploadOptions{Region: "ap-south", Label: "three"}
	_, _, err := api.CreateImageUpload(ctx, options)
	var e *linodego.Error
	if !errors.As(err, &e) || e.Code != 400 || !strings.Contains(e.Message, "Account Limit reached") {
		t.Errorf("error %v", err)
	}
	if err := api.DeleteImage(ctx, first.ID); err != nil {
		t.Fatal(err)
	}
	if _, _, err := api.CreateImageUpload(ctx, options); err != nil {
		t.Errorf("after a deletion: %v", err)
	}

	s = &linode.Server{Quota: linode.Quota{TotalMB: 2049}}
	api = serve(t, s)
	announce(t, api, "small") // private/1 has 2,048 MB
	uploaded(t, api, "large", make([]byte, 1<<20))
	if _, _, err := api.CreateImageUpload(ctx, options); status(err) != 400 {
		t.Errorf("more than all that fits: error %v", err)
	}
}

// TestImageIsHeldWhileAMachineIsMadeOfIt: the file must not go under the machine that is being made.
func TestImageIsHeldWhileAMachineIsMadeOfIt(t *testing.T) {
	ctx, b := t.Context(), &bench{hold: map[string]chan struct{}{"create": make(chan struct{})}}
	s := &linode.Server{Machines: b, ImageDir: t.TempDir()}
	api := serve(t, s)
	image := uploaded(t, api, "node", []byte("x"))
	options := node("sg1")
	options.Image = image.ID
	done := make(chan error, 1)
	go func() {
		_, err := api.CreateInstance(ctx, options)
		done <- err
	}()
	await.True(t, "the machine is being made", patience, func() bool {
		b.mu.Lock()
		defer b.mu.Unlock()
		return len(b.made) == 1
	})
	if err := api.DeleteImage(ctx, image.ID); err != nil {
		t.Fatal(err)
	}
	if _, err := os.Stat(b.made[0].ImageFile); err != nil {
		t.Errorf("the file went too early: %v", err)
	}
	close(b.hold["create"])
	if err := <-done; err != nil {
		t.Fatal(err)
	}
	if _, err := os.Stat(b.made[0].ImageFile); !errors.Is(err, os.ErrNotExist) {
		t.Errorf("the file stays: %v", err)
	}
}

// TestImagesSurviveARestart stops a server with an image in each state.
func TestImagesSurviveARestart(t *testing.T) {
	ctx, dir := t.Context(), t.TempDir()
	first := &linode.Server{Machines: &bench{}, ImageDir: dir, Token: token}
	api := serve(t, first)
	available := uploaded(t, api, "available", []byte("x"))
	waiting, _ := announce(t, api, "waiting")
	creating, to := announce(t, api, "creating")
	first.Inject(linode.Fault{PathPrefix: linode.UploadPath, Stuck: true})
	upload(t, to, gzipped(t, []byte("y")))
	first.Close()
	saved, err := first.Snapshot()
	if err != nil {
		t.Fatal(err)
	}

	b := &bench{}
	second := &linode.Server{Machines: b, ImageDir: dir, Token: token}
	if err := second.Restore(saved); err != nil {
		t.Fatal(err)
	}
	api = serve(t, second)
	if _, err := api.WaitForImageStatus(ctx, creating.ID, linodego.ImageStatusAvailable, 10); err != nil {
		t.Error(err)
	}
	got, err := api.GetImage(ctx, waiting.ID)
	if err != nil || got.Status != linodego.ImageStatusPendingUpload {
		t.Errorf("image %+v, error %v", got, err)
	}
	options := node("sg1")
	options.Image = available.ID
	if _, err := api.CreateInstance(ctx, options); err != nil {
		t.Fatal(err)
	}
	if got, err := os.ReadFile(b.made[0].ImageFile); err != nil || string(got) != "x" {
		t.Errorf("the image holds %q, error %v", got, err)
	}
	if fmt.Sprint(filepath.Dir(b.made[0].ImageFile)) != dir {
		t.Errorf("the image is %s, not in %s", b.made[0].ImageFile, dir)
	}
}

func TestImageFoldersOfTheServersOwnAreRemoved(t *testing.T) {
	dir := t.TempDir()
	t.Setenv("TMPDIR", dir)
	s := &linode.Server{}
	api := serve(t, s)
	uploaded(t, api, "node", []byte("x"))
	if left, err := os.ReadDir(dir); err != nil || len(left) != 1 {
		t.Errorf("%v, error %v, want one folder", left, err)
	}
	s.Close()
	if left, err := os.ReadDir(dir); err != nil || len(left) != 0 {
		t.Errorf("left: %v, error %v", left, err)
	}
}

// TestImagePathsWithASlash: linodego before 1.0 does not escape it, and Packer's plugin was built with that for long.
func TestImagePathsWithASlash(t *testing.T) {
	url := serveRaw(t, &linode.Server{})
	for path, want := range map[string]int{
		"/v4/images/private/1": 200, "/v4beta/images/private%2F1": 200, "/v4/images/linode/debian13": 200,
		"/v4/images/private/2": 404, "/v4/images/private/1/moons": 404,
	} {
		if got, _ := get(t, url+path, token); got != want {
			t.Errorf("%s: status %d, want %d", path, got, want)
		}
	}
}
