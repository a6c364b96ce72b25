package provider_test

import (
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/hashicorp/terraform-plugin-testing/helper/resource"
	"github.com/hashicorp/terraform-plugin-testing/plancheck"
	"github.com/hashicorp/terraform-plugin-testing/statecheck"

	"github.com/atollhq/terraform-provider-atoll/internal/lab/linode"
	"github.com/atollhq/terraform-provider-atoll/internal/nodeimage"
)

// TestImageFaults uploads while something goes wrong for a while. It costs time alone.
func TestImageFaults(t *testing.T) {
	t.Parallel()
	put := linode.Fault{Method: http.MethodPut, PathPrefix: linode.UploadPath}
	tests := map[string]struct {
		change  func(*linode.Fault)
		uploads int32
	}{
		"cut in the middle": {func(f *linode.Fault) { f.CutAfter = 200_000 }, 2},
		"cut again":         {func(f *linode.Fault) { f.CutAfter, f.Times = 100_000, 2 }, 3},
		"refused":           {func(f *linode.Fault) { f.Status = http.StatusForbidden }, 2},
		"hangs":             {func(f *linode.Fault) { f.Hang = true }, 2},
		"slow":              {func(f *linode.Fault) { f.BytesPerSecond = 250_000 }, 1},
		"answer lost":       {func(f *linode.Fault) { f.LoseAnswer = true }, 1},
		"announcement lost": {func(f *linode.Fault) {
			*f = linode.Fault{Method: http.MethodPost, Path: "/images/upload", LoseAnswer: true}
		}, 1},
		"storage overloaded": {func(f *linode.Fault) { f.Status, f.RetryAfter = http.StatusServiceUnavailable, time.Second }, 2},
	}
	for name, tt := range tests {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			w := newImageWorld(t)
			b := newImage(t, "0.1.0")
			fault := put
			tt.change(&fault)
			w.cloud.Inject(fault)
			w.test(t, resource.TestStep{
				Config:            b.config(b.manifest(), ""),
				ConfigPlanChecks:  planned(plancheck.ResourceActionCreate),
				ConfigStateChecks: []statecheck.StateCheck{checkState(func() error { w.whole(t); return nil })},
			})
			w.demandUploads(t, tt.uploads)
			if w.cloud.PendingFaults() != 0 {
				t.Error("the fault has not happened")
			}
			w.noImages(t)
		})
	}
}

// TestImageRefusals plans or uploads what cannot be. The message says why and what helps, and nothing is left.
func TestImageRefusals(t *testing.T) {
	t.Parallel()
	with := func(change func(*nodeimage.Facts)) func(*testing.T, *imageWorld, builtImage) {
		return func(t *testing.T, _ *imageWorld, b builtImage) {
			f := facts("0.1.0")
			change(&f)
			b.build(t, f, t.Name())
		}
	}
	fault := func(f linode.Fault) func(*testing.T, *imageWorld, builtImage) {
		return func(_ *testing.T, w *imageWorld, _ builtImage) { w.cloud.Inject(f) }
	}
	rewrite := func(data []byte) func(*testing.T, *imageWorld, builtImage) {
		return func(t *testing.T, _ *imageWorld, b builtImage) { b.write(t, data) }
	}
	partitioned := make([]byte, 8192)
	partitioned[510], partitioned[511] = 0x55, 0xaa
	tests := map[string]struct {
		change func(*testing.T, *imageWorld, builtImage)
		file   bool
		more   string
		want   []string
	}{
		"another architecture": {with(func(f *nodeimage.Facts) { f.Architecture = "arm64" }), false, "", []string{"source", "the image is for arm64", "amd64"}},
		"newer wire form":      {with(func(f *nodeimage.Facts) { f.Wire += 7 }), false, "", []string{"source", "speaks version 8 of the wire form", "build the image with"}},
		"damaged file":         {rewrite(fileSystem("something else")), false, "", []string{"its manifest says", "build the image again"}},
		"disk with partitions": {rewrite(partitioned), true, "", []string{"source", "holds a disk with partitions", ".linode.img.gz"}},
		"no file system":       {rewrite(make([]byte, 8192)), true, "", []string{"holds no ext file system"}},
		"refused for good": {
			fault(linode.Fault{Method: http.MethodPut, PathPrefix: linode.UploadPath, Status: http.StatusForbidden, Times: -1}),
			false, "",
			[]string{"HTTP 403 (AccessDenied", "Nothing is left of it"},
		},
		"cut for good": {
			fault(linode.Fault{Method: http.MethodPut, PathPrefix: linode.UploadPath, CutAfter: 100_000, Times: -1}),
			false, "",
			[]string{"5 tries"},
		},
		"quota": {
			func(_ *testing.T, w *imageWorld, _ builtImage) { w.cloud.Quota.Images = 1 },
			false, "",
			[]string{"Account Limit reached", "keep_previous"},
		},
		"cannot be made": {
			fault(linode.Fault{Method: http.MethodPut, PathPrefix: linode.UploadPath, FailJob: true}),
			false, "",
			[]string{"could not make image", "one unpartitioned ext4 file system"},
		},
		"too slow": {
			fault(linode.Fault{Method: http.MethodPut, PathPrefix: linode.UploadPath, BytesPerSecond: 20_000, Times: -1}),
			false, `timeouts = { create = "3s" }`,
			[]string{"not done after 3s", "Raise timeouts.create"},
		},
		"unknown region":  {nil, false, `replicas = ["nowhere"]`, []string{"replicas", "nowhere is not valid"}},
		"own replica":     {nil, false, `replicas = ["ap-south"]`, []string{"the image's own"}},
		"reserved tag":    {nil, false, `tags = ["atoll-holder:me"]`, []string{"Atoll's own"}},
		"unfitting label": {nil, false, `label = "web/node"`, []string{"label", "special characters"}},
		"no token":        {func(_ *testing.T, w *imageWorld, _ builtImage) { w.env["LINODE_TOKEN"] = "" }, false, "", []string{"no Linode token"}},
		"missing scope": {func(_ *testing.T, w *imageWorld, _ builtImage) {
			w.cloud.Scopes = map[string]string{"narrow": "images:read_only"}
			w.env["LINODE_TOKEN"] = "narrow"
		}, false, "", []string{"images:read_write"}},
	}
	for name, tt := range tests {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			w := newImageWorld(t)
			b := newImage(t, "0.1.0")
			if tt.change != nil {
				tt.change(t, w, b)
			}
			source := b.manifest()
			if tt.file {
				source = b.file()
			}
			w.test(t, resource.TestStep{Config: b.config(source, tt.more), ExpectError: says(tt.want...)})
			for _, image := range w.images(t) {
				if image.Status != "available" || name != "unknown region" {
					t.Errorf("an image is left: %+v", image)
				}
			}
		})
	}
}

// TestImageChangesAfterThePlan builds the image anew between plan and apply. Nothing is uploaded that nobody has seen: Terraform
// plans once more before it applies, and refuses what differs from the plan.
func TestImageChangesAfterThePlan(t *testing.T) {
	t.Parallel()
	w := newImageWorld(t)
	b := newImage(t, "0.1.0")
	w.test(t, resource.TestStep{
		Config: b.config(b.manifest(), ""),
		ConfigPlanChecks: resource.ConfigPlanChecks{PreApply: []plancheck.PlanCheck{do(func() error {
			b.build(t, facts("0.2.0"), "another")
			return nil
		})}},
		ExpectError: says("inconsistent final plan", ".sha256"),
	})
	w.demandUploads(t, 0)
	w.noImages(t)
}

// TestStuckImage uploads an image that Linode does not get on with. The message says what helps, and it does.
func TestStuckImage(t *testing.T) {
	t.Parallel()
	w := newImageWorld(t)
	b := newImage(t, "0.1.0")
	w.cloud.Inject(linode.Fault{Method: http.MethodPut, PathPrefix: linode.UploadPath, Stuck: true})
	impatient := b.config(b.manifest(), `timeouts = { create = "2s" }`)
	stuck := resource.TestStep{Config: impatient, ExpectError: says("not done after 2s", "it is creating", "delete that image")}
	w.test(t, stuck, stuck, resource.TestStep{
		PreConfig: func() {
			w.demandUploads(t, 1)
			for _, image := range w.images(t) {
				w.call(t, http.MethodDelete, "/v4/images/"+strings.ReplaceAll(image.ID, "/", "%2F"))
			}
		},
		Config: b.config(b.manifest(), ""), ConfigPlanChecks: planned(plancheck.ResourceActionCreate),
	})
	w.demandUploads(t, 2)
	w.noImages(t)
}

// TestFailedCopyResumes fails in the second half. The next apply goes on with the image that is there.
func TestFailedCopyResumes(t *testing.T) {
	t.Parallel()
	w := newImageWorld(t)
	b := newImage(t, "0.1.0")
	undo := w.cloud.Inject(linode.Fault{Method: http.MethodPost, PathPrefix: "/images/private", FailJob: true, Times: -1})
	config := b.config(b.manifest(), `replicas = ["jp-osa"]`)
	w.test(t,
		resource.TestStep{Config: config, ExpectError: says("could not make the copy in jp-osa")},
		resource.TestStep{PreConfig: undo, Config: config, ConfigPlanChecks: planned(plancheck.ResourceActionCreate)},
	)
	w.demandUploads(t, 1)
	w.noImages(t)
}

// TestNodeOfUnfittingImage makes nodes of images that do not fit, by their ids alone.
func TestNodeOfUnfittingImage(t *testing.T) {
	t.Parallel()
	tests := map[string]struct {
		tags []string
		id   string
		want []string
	}{
		"another architecture": {[]string{"atoll-architecture:arm64", "atoll-wire:1"}, "", []string{"linode.image", "is for arm64"}},
		"another wire form":    {[]string{"atoll-architecture:amd64", "atoll-wire:7"}, "", []string{"version 7 of the wire form"}},
		"gone":                 {nil, "private/77", []string{"private/77", "does not exist"}},
	}
	for name, tt := range tests {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			w := newImageWorld(t)
			w.cloud.Images = append(linode.DefaultImages(), linode.Image{ID: "private/2", Label: "other", Size: 100, Tags: tt.tags})
			id := tt.id
			if id == "" {
				id = "private/2"
			}
			config := strings.Replace(linodeNode("sg1", ""), "private/1", id, 1)
			w.test(t, resource.TestStep{Config: config, PlanOnly: true, ExpectError: says(tt.want...)})
		})
	}
}
