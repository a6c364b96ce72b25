package provider_test

import (
	"errors"
	"fmt"
	"net/http"
	"os"
	"slices"
	"strings"
	"testing"

	"github.com/hashicorp/terraform-plugin-testing/helper/resource"
	"github.com/hashicorp/terraform-plugin-testing/knownvalue"
	"github.com/hashicorp/terraform-plugin-testing/plancheck"
	"github.com/hashicorp/terraform-plugin-testing/statecheck"
	"github.com/hashicorp/terraform-plugin-testing/terraform"
	"github.com/hashicorp/terraform-plugin-testing/tfjsonpath"
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

// TestMoveImage moves an image to another region, and mends the copies that somebody else has changed.
func TestMoveImage(t *testing.T) {
	t.Parallel()
	w := newImageWorld(t)
	b := newImage(t, "0.1.0")
	here, both := b.config(b.manifest(), ""), b.config(b.manifest(), `replicas = ["jp-osa"]`)
	there := strings.Replace(here, "ap-south", "jp-osa", 1)
	only := func(region string) statecheck.StateCheck {
		return statecheck.ExpectKnownValue(imageNode, tfjsonpath.New("regions"), knownvalue.MapExact(map[string]knownvalue.Check{region: knownvalue.StringExact("available")}))
	}
	place := func(region string) func() {
		return func() {
			for _, image := range w.images(t) {
				w.place(t, image.ID, region)
			}
			w.settled(t)
		}
	}
	var first, last string
	id := tfjsonpath.New("id")
	w.test(t,
		resource.TestStep{Config: here, ConfigStateChecks: []statecheck.StateCheck{only("ap-south"), readString(imageNode, id, &first)}},
		resource.TestStep{Config: there, ConfigPlanChecks: planned(plancheck.ResourceActionUpdate), ConfigStateChecks: []statecheck.StateCheck{only("jp-osa")}},
		resource.TestStep{Config: both, ConfigPlanChecks: planned(plancheck.ResourceActionUpdate)},
		resource.TestStep{PreConfig: place("jp-osa"), Config: both, ConfigPlanChecks: planned(plancheck.ResourceActionUpdate)},
		resource.TestStep{
			PreConfig: place("ap-south"), Config: there, ConfigPlanChecks: planned(plancheck.ResourceActionUpdate),
			ConfigStateChecks: []statecheck.StateCheck{only("jp-osa"), readString(imageNode, id, &last)},
		},
	)
	if first == "" || first != last {
		t.Errorf("the image was %q and is %q", first, last)
	}
	w.demandUploads(t, 1)
	w.noImages(t)
}
