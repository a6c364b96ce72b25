package provider_test

import (
	"errors"
	"fmt"
	"net/http"
	"os"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/hashicorp/terraform-plugin-testing/helper/resource"
	"github.com/hashicorp/terraform-plugin-testing/knownvalue"
	"github.com/hashicorp/terraform-plugin-testing/plancheck"
	"github.com/hashicorp/terraform-plugin-testing/statecheck"
	"github.com/hashicorp/terraform-plugin-testing/terraform"
	"github.com/hashicorp/terraform-plugin-testing/tfjsonpath"

	"github.com/atollhq/terraform-provider-atoll/internal/lab/linode"
	"github.com/atollhq/terraform-provider-atoll/internal/nodeimage"
)

const imageNode = "atoll_image.node"

// planned demands an action for the image, and nothing more to do afterwards.
func planned(action plancheck.ResourceActionType) resource.ConfigPlanChecks {
	return resource.ConfigPlanChecks{
		PreApply:             []plancheck.PlanCheck{plancheck.ExpectResourceAction(imageNode, action)},
		PostApplyPostRefresh: []plancheck.PlanCheck{plancheck.ExpectEmptyPlan()},
	}
}

// TestImage uploads an image, makes a node of it, plans again, imports it, changes what describes it, uploads new content
// and goes back to the old one.
func TestImage(t *testing.T) {
	t.Parallel()
	w := newImageWorld(t)
	b := newImage(t, "0.1.0")
	config := ofImage("sg1") + b.config(b.manifest(), "")
	var first, second, third string
	id := tfjsonpath.New("id")
	inPlace := func(config string, into *string, more ...statecheck.StateCheck) resource.TestStep {
		return resource.TestStep{
			Config: config,
			ConfigPlanChecks: resource.ConfigPlanChecks{
				PreApply: []plancheck.PlanCheck{
					plancheck.ExpectResourceAction(imageNode, plancheck.ResourceActionUpdate),
				},
				PostApplyPostRefresh: []plancheck.PlanCheck{plancheck.ExpectEmptyPlan()},
			},
			ConfigStateChecks: append(more, readString(imageNode, id, into)),
		}
	}
	var instances map[int]string
	w.test(t,
		resource.TestStep{
			Config:           config,
			ConfigPlanChecks: planned(plancheck.ResourceActionCreate),
			ConfigStateChecks: []statecheck.StateCheck{
				readString(imageNode, id, &first),
				statecheck.ExpectKnownValue(imageNode, tfjsonpath.New("version"), knownvalue.StringExact("0.1.0")),
				statecheck.ExpectKnownValue(imageNode, tfjsonpath.New("architecture"), knownvalue.StringExact("amd64")),
				statecheck.ExpectKnownValue(imageNode, tfjsonpath.New("wire"), knownvalue.Int64Exact(1)),
				statecheck.ExpectKnownValue(imageNode, tfjsonpath.New("label"), knownvalue.StringExact("atoll-node-0.1.0")),
				statecheck.ExpectKnownValue(imageNode, tfjsonpath.New("status"), knownvalue.StringExact("available")),
				statecheck.ExpectKnownValue(imageNode, tfjsonpath.New("regions").AtMapKey("ap-south"), knownvalue.StringExact("available")),
				statecheck.ExpectKnownValue(imageNode, tfjsonpath.New("previous"), knownvalue.ListSizeExact(0)),
				statecheck.CompareValuePairs(imageNode, id, "atoll_node.sg1", tfjsonpath.New("linode").AtMapKey("image"), same{}),
			},
		},
		resource.TestStep{Config: config, ConfigPlanChecks: emptyPlan()},
		resource.TestStep{
			ResourceName: imageNode, ImportState: true, ImportStateVerify: true,
			ImportStateVerifyIgnore: []string{"source", "keep_previous", "retain_on_destroy", "timeouts"},
		},
		inPlace(ofImage("sg1")+b.config(b.manifest(), `
  replicas    = ["jp-osa"]
  label       = "web node"
  description = "of the web"
  tags        = ["web", "blue"]`), &second,
			statecheck.ExpectKnownValue(imageNode, tfjsonpath.New("regions").AtMapKey("jp-osa"), knownvalue.StringExact("available"))),
		inPlace(config, &third),
		resource.TestStep{ // new content: the machine that is there stays
			PreConfig: func() {
				w.demandUploads(t, 1)
				instances = w.instances(t)
				b.build(t, facts("0.2.0"), "another")
			},
			Config: config,
			ConfigPlanChecks: resource.ConfigPlanChecks{
				PreApply: []plancheck.PlanCheck{
					plancheck.ExpectResourceAction(imageNode, plancheck.ResourceActionUpdate),
					plancheck.ExpectUnknownValue(imageNode, id),
					plancheck.ExpectKnownValue(imageNode, tfjsonpath.New("version"), knownvalue.StringExact("0.2.0")),
					plancheck.ExpectResourceAction("atoll_node.sg1", plancheck.ResourceActionUpdate),
				},
				PostApplyPostRefresh: []plancheck.PlanCheck{plancheck.ExpectEmptyPlan()},
			},
			ConfigStateChecks: []statecheck.StateCheck{
				statecheck.ExpectKnownValue(imageNode, tfjsonpath.New("previous"), knownvalue.ListSizeExact(1)),
				checkState(func() error {
					w.demandUploads(t, 2)
					w.whole(t)
					if now := w.instances(t); fmt.Sprint(now) != fmt.Sprint(instances) {
						return fmt.Errorf("the instances were %v and are %v", instances, now)
					}
					return nil
				}),
			},
		},
		resource.TestStep{ // back to the kept one, without an upload
			PreConfig: func() { b.build(t, facts("0.1.0"), t.Name()) },
			Config:    config,
			ConfigStateChecks: []statecheck.StateCheck{
				readString(imageNode, id, &third),
				checkState(func() error { w.demandUploads(t, 2); return nil }),
			},
		},
	)
	if first == "" || first != second || first != third {
		t.Errorf("the image was %q, then %q, in the end %q", first, second, third)
	}
	w.noImages(t)
}

// TestKeepPrevious uploads content after content and looks which images stay.
func TestKeepPrevious(t *testing.T) {
	t.Parallel()
	w := newImageWorld(t)
	b := newImage(t, "0.1.0")
	upload := func(version, more string, want int) resource.TestStep {
		return resource.TestStep{
			PreConfig: func() { b.build(t, facts(version), version) },
			Config:    b.config(b.manifest(), more),
			ConfigPlanChecks: resource.ConfigPlanChecks{
				PostApplyPostRefresh: []plancheck.PlanCheck{plancheck.ExpectEmptyPlan()},
			},
			ConfigStateChecks: []statecheck.StateCheck{
				statecheck.ExpectKnownValue(imageNode, tfjsonpath.New("previous"), knownvalue.ListSizeExact(want-1)),
				checkState(func() error {
					w.whole(t)
					if have := len(w.images(t)); have != want {
						return fmt.Errorf("the account has %d images, want %d", have, want)
					}
					return nil
				}),
			},
		}
	}
	w.test(t,
		upload("0.1.0", "keep_previous = 2", 1),
		upload("0.2.0", "keep_previous = 2", 2),
		upload("0.3.0", "keep_previous = 2", 3),
		upload("0.4.0", "keep_previous = 2", 3),
		upload("0.4.0", "keep_previous = 1", 2), // the policy alone
		upload("0.5.0", "keep_previous = 0", 1),
	)
	w.noImages(t)
}

// TestRetainImage destroys the resource and not the image, which the next one finds.
func TestRetainImage(t *testing.T) {
	t.Parallel()
	w := newImageWorld(t)
	b := newImage(t, "0.1.0")
	w.test(t, resource.TestStep{Config: b.config(b.manifest(), "retain_on_destroy = true")})
	if left := w.images(t); len(left) != 1 {
		t.Fatalf("got images %+v, want the one that was retained", left)
	}
	w.test(t, resource.TestStep{Config: b.config(b.file(), "")}) // the file alone is enough
	w.demandUploads(t, 1)
	w.noImages(t)
}

// TestSharedImage has two resources with one content. It is uploaded once and goes with the second of them.
func TestSharedImage(t *testing.T) {
	t.Parallel()
	w := newImageWorld(t)
	b := newImage(t, "0.1.0")
	both := b.config(b.manifest(), `label = "one"`) + strings.Replace(b.config(b.file(), `
  label    = "two"
  replicas = ["jp-osa"]`), `"node"`, `"twin"`, 1)
	w.test(t,
		resource.TestStep{
			Config:           both,
			ConfigPlanChecks: planned(plancheck.ResourceActionCreate),
			ConfigStateChecks: []statecheck.StateCheck{
				statecheck.CompareValuePairs(imageNode, tfjsonpath.New("id"), "atoll_image.twin", tfjsonpath.New("id"), same{}),
				statecheck.ExpectKnownValue("atoll_image.twin", tfjsonpath.New("version"), knownvalue.Null()),
			},
		},
		resource.TestStep{
			Config: b.config(b.manifest(), `label = "one"`),
			ConfigPlanChecks: resource.ConfigPlanChecks{PostApplyPostRefresh: []plancheck.PlanCheck{
				plancheck.ExpectResourceAction(imageNode, plancheck.ResourceActionUpdate), // it has the image alone now, and wants no copy
			}},
			ExpectNonEmptyPlan: true,
		},
		resource.TestStep{Config: b.config(b.manifest(), `label = "one"`), ConfigPlanChecks: planned(plancheck.ResourceActionUpdate)},
	)
	w.demandUploads(t, 1)
	w.noImages(t)
}

// TestGoneImage deletes the image behind Terraform's back. It is uploaded again; destroying it does not fail either.
func TestGoneImage(t *testing.T) {
	t.Parallel()
	w := newImageWorld(t)
	b := newImage(t, "0.1.0")
	remove := func() {
		for _, image := range w.images(t) {
			w.call(t, http.MethodDelete, "/v4/images/"+strings.ReplaceAll(image.ID, "/", "%2F"))
		}
	}
	w.test(t,
		resource.TestStep{Config: b.config(b.manifest(), "")},
		resource.TestStep{PreConfig: remove, Config: b.config(b.manifest(), ""), ConfigPlanChecks: planned(plancheck.ResourceActionUpdate)},
		resource.TestStep{PreConfig: remove, Config: b.config(b.manifest(), ""), Destroy: true},
	)
	w.demandUploads(t, 2)
	w.noImages(t)
}

// TestImageFileIsNotHere applies where nobody has built the image. What is there stays, what is not cannot be made.
func TestImageFileIsNotHere(t *testing.T) {
	t.Parallel()
	w := newImageWorld(t)
	b := newImage(t, "0.1.0")
	config := b.config(b.manifest(), "")
	w.test(t,
		resource.TestStep{Config: config},
		resource.TestStep{PreConfig: func() {
			if err := os.RemoveAll(b.dir); err != nil {
				t.Error(err)
			}
		}, Config: config, ConfigPlanChecks: emptyPlan()},
		resource.TestStep{Config: b.config(b.manifest(), `tags = ["web"]`), ConfigPlanChecks: planned(plancheck.ResourceActionUpdate)},
		resource.TestStep{
			PreConfig: func() {
				for _, image := range w.images(t) {
					w.call(t, http.MethodDelete, "/v4/images/"+strings.ReplaceAll(image.ID, "/", "%2F"))
				}
			},
			Config: config, ExpectError: says("no such file", "make image"),
		},
		resource.TestStep{PreConfig: func() { b.build(t, facts("0.1.0"), t.Name()) }, Config: config},
	)
	w.noImages(t)
}

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
		Config: impatient, ConfigPlanChecks: planned(plancheck.ResourceActionCreate),
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

var errNoHolder = errors.New("the image has no holder")

// TestImportedImageIsLetGo imports an image whose state was lost, and destroys it.
func TestImportedImageIsLetGo(t *testing.T) {
	t.Parallel()
	w := newImageWorld(t)
	b := newImage(t, "0.1.0")
	config := b.config(b.manifest(), "")
	forget := `
removed {
  from = atoll_image.node
  lifecycle { destroy = false }
}
`
	var id string
	w.test(t,
		resource.TestStep{Config: config, ConfigStateChecks: []statecheck.StateCheck{readString(imageNode, tfjsonpath.New("id"), &id)}},
		resource.TestStep{Config: forget},
		resource.TestStep{
			Config: config, ResourceName: imageNode, ImportState: true, ImportStatePersist: true,
			ImportStateIdFunc: func(*terraform.State) (string, error) { return id, nil },
		},
		resource.TestStep{Config: config, ConfigStateChecks: []statecheck.StateCheck{checkState(func() error {
			for _, image := range w.images(t) {
				if !slices.ContainsFunc(image.Tags, func(tag string) bool { return strings.HasPrefix(tag, "atoll-holder:") }) {
					return errNoHolder
				}
			}
			return nil
		})}},
	)
	w.demandUploads(t, 1)
	w.noImages(t)
}
