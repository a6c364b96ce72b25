package provider_test

import (
	"errors"
	"net/http"
	"strconv"
	"testing"
	"time"

	"github.com/hashicorp/terraform-plugin-testing/helper/resource"
	"github.com/hashicorp/terraform-plugin-testing/plancheck"
	"github.com/hashicorp/terraform-plugin-testing/statecheck"
	"github.com/hashicorp/terraform-plugin-testing/tfjsonpath"

	"github.com/atollhq/terraform-provider-atoll/internal/api"
	"github.com/atollhq/terraform-provider-atoll/internal/lab/linode"
)

const instancesPath = "/linode/instances"

// TestCloudFaults makes a node while the cloud's API has one of its bad moods. None may cost more than time, none may leave
// a second instance.
func TestCloudFaults(t *testing.T) {
	t.Parallel()
	tests := []struct {
		name  string
		fault linode.Fault
	}{
		{"429 with Retry-After", linode.Fault{Method: http.MethodPost, Path: instancesPath, Status: http.StatusTooManyRequests, RetryAfter: time.Second}},
		{"500 once on create", linode.Fault{Method: http.MethodPost, Path: instancesPath, Status: http.StatusInternalServerError}},
		{"500 once on read", linode.Fault{Method: http.MethodGet, PathPrefix: instancesPath, Status: http.StatusInternalServerError}},
		{"500 once on delete", linode.Fault{Method: http.MethodDelete, PathPrefix: instancesPath, Status: http.StatusInternalServerError}},
		{"create hangs", linode.Fault{Method: http.MethodPost, Path: instancesPath, Hang: true}},
		{"read hangs", linode.Fault{Method: http.MethodGet, PathPrefix: instancesPath, Skip: 1, Hang: true}},
		{"answer of create is lost", linode.Fault{Method: http.MethodPost, Path: instancesPath, LoseAnswer: true}},
		{"answer of delete is lost", linode.Fault{Method: http.MethodDelete, PathPrefix: instancesPath, LoseAnswer: true}},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			w := newWorld(t)
			w.cloud.Inject(tt.fault)
			w.test(t, resource.TestStep{Config: linodeNode("sg1", ""), ConfigPlanChecks: resource.ConfigPlanChecks{
				PostApplyPostRefresh: []plancheck.PlanCheck{plancheck.ExpectEmptyPlan()},
			}})
			if w.cloud.PendingFaults() != 0 {
				t.Error("the fault has not happened")
			}
		})
	}
}

// TestCloudRefusals makes a node that the cloud refuses. The message names the attribute and the remedy, and nothing is made.
func TestCloudRefusals(t *testing.T) {
	t.Parallel()
	tests := []struct {
		name   string
		change func(*world)
		config string
		want   []string
	}{
		{"wrong token", func(w *world) { w.env["LINODE_TOKEN"] = "wrong" }, linodeNode("sg1", ""), []string{"401", "LINODE_TOKEN"}},
		{"no token", func(w *world) { w.env["LINODE_TOKEN"] = "" }, linodeNode("sg1", ""), []string{"no Linode token"}},
		{
			"missing scope",
			func(w *world) {
				w.cloud.Scopes = map[string]string{"narrow": "linodes:read_only"}
				w.env["LINODE_TOKEN"] = "narrow"
			},
			linodeNode("sg1", ""),
			[]string{"needs the scope linodes:read_write", "the token has linodes:read_only"},
		},
		{"unknown region", func(*world) {}, clusterConfig + `
resource "atoll_node" "sg1" {
  cluster = atoll_cluster.web
  name    = "sg1"
  linode  = { region = "nowhere", type = "g6-nanode-1", image = "private/1" }
}`, []string{"region"}},
		{
			"conflict",
			func(w *world) {
				w.cloud.Inject(linode.Fault{Method: http.MethodPost, Path: instancesPath, Status: http.StatusConflict, Times: -1})
			},
			linodeNode("sg1", ""),
			[]string{"conflict", "409"},
		},
		{"no signing key", func(w *world) { delete(w.env, "ATOLL_SIGNING_KEY") }, linodeNode("sg1", ""), []string{"signing key", "atoll key new"}},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			w := newWorld(t)
			tt.change(w)
			w.test(t, resource.TestStep{Config: tt.config, ExpectError: says(tt.want...)})
		})
	}
}

// TestSilentInstance makes a node whose instance is there already, with a silent agent. It may be another state's finished
// node, so it is neither taken, nor deleted by the apply after the failure.
func TestSilentInstance(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	silent := w.post(t, "/v4/linode/instances", `{"label":"web-sg1","region":"ap-south","type":"g6-nanode-1","image":"private/1",`+
		`"booted":false,"authorized_keys":["ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIEJKzUv5xDyVmVqCbW2X8YFqcYqXgFxqXgFxqXgFxqXg test"],"tags":["atoll:web/sg1"]}`)
	refused := resource.TestStep{Config: linodeNode("sg1", ""), ExpectError: says("Cannot tell whose machine this is")}
	w.runSteps(t, refused, refused)
	if left := w.instances(t); len(left) != 1 || left[silent] != "web-sg1" {
		t.Errorf("got instances %v, want the silent one alone", left)
	}
}

// TestForeignLabel makes a node whose instance's label somebody else's instance has. That one is neither taken nor deleted.
func TestForeignLabel(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	foreign := w.foreignInstance(t, "web-sg1")
	w.runSteps(t, resource.TestStep{Config: linodeNode("sg1", ""), ExpectError: says("label", "another label")})
	if left := w.instances(t); len(left) != 1 || left[foreign] != "web-sg1" {
		t.Errorf("got instances %v, want the foreign one alone", left)
	}
}

// TestVanishedInstance deletes an instance behind Terraform's back. The plan makes it again, with the old identity evicted.
func TestVanishedInstance(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	var before int
	w.test(t,
		resource.TestStep{Config: linodes("sg1", "os1")},
		resource.TestStep{
			PreConfig: func() {
				for id, label := range w.instances(t) {
					if label == "web-sg1" {
						before = id
						w.call(t, http.MethodDelete, "/v4/linode/instances/"+strconv.Itoa(id))
					}
				}
			},
			Config: linodes("sg1", "os1"),
			ConfigPlanChecks: resource.ConfigPlanChecks{
				PreApply: []plancheck.PlanCheck{
					plancheck.ExpectResourceAction("atoll_node.sg1", plancheck.ResourceActionDestroyBeforeCreate),
					plancheck.ExpectResourceAction("atoll_node.os1", plancheck.ResourceActionNoop),
					plancheck.ExpectResourceAction("atoll_mesh_link.sg1-os1", plancheck.ResourceActionUpdate),
				},
				PostApplyPostRefresh: []plancheck.PlanCheck{plancheck.ExpectEmptyPlan()},
			},
		},
	)
	if before == 0 {
		t.Error("there was no instance to delete")
	}
}

// TestDestroyAfterMachinesAreGone destroys a cluster whose machines are gone already.
func TestDestroyAfterMachinesAreGone(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	w.test(t,
		resource.TestStep{Config: linodes("sg1", "os1")},
		resource.TestStep{
			PreConfig: func() {
				for id := range w.instances(t) {
					w.call(t, http.MethodDelete, "/v4/linode/instances/"+strconv.Itoa(id))
				}
			},
			Config: linodes("sg1", "os1"), Destroy: true,
		},
	)
}

// TestUserDataLost makes a node whose first-boot data gets lost. The error says what the machine waits for, the instance is
// in state, tainted, and the next apply makes it again.
func TestUserDataLost(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	w.cloud.Inject(linode.Fault{Method: http.MethodPost, Path: instancesPath, LoseUserData: true})
	config := linodeNode("sg1", `timeouts = { create = "4s" }`)
	w.test(t,
		resource.TestStep{Config: config, ExpectError: says("the node says:", "first-boot data", "tainted")},
		resource.TestStep{Config: linodeNode("sg1", ""), ConfigPlanChecks: resource.ConfigPlanChecks{
			PreApply: []plancheck.PlanCheck{plancheck.ExpectResourceAction("atoll_node.sg1", plancheck.ResourceActionDestroyBeforeCreate)},
		}},
	)
}

// TestBootFails makes a node that Linode cannot boot. The message is Linode's, at once, and the next apply makes it again.
func TestBootFails(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	w.cloud.Inject(linode.Fault{Method: http.MethodPost, Path: instancesPath, FailJob: true})
	w.test(t,
		resource.TestStep{Config: linodeNode("sg1", ""), ExpectError: says("Linode's job", "failed")},
		resource.TestStep{Config: linodeNode("sg1", "")},
	)
}

// foreignInstance makes an instance that no Terraform knows.
func (w *world) foreignInstance(t *testing.T, label string) int {
	t.Helper()
	body := `{"label":"` + label + `","region":"ap-south","type":"g6-nanode-1"}`
	return w.post(t, "/v4/linode/instances", body)
}

// TestRemoveDeadNode removes a node whose machine is dead, right after it was made and before any refresh could note who
// else there is. The others must hear of it.
func TestRemoveDeadNode(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	three := linodes("a1", "b1", "c1")
	var endpoint string
	w.test(t,
		resource.TestStep{Config: linodes("a1", "b1")},
		resource.TestStep{Config: three, ConfigStateChecks: []statecheck.StateCheck{
			readString("atoll_node.a1", tfjsonpath.New("endpoints").AtSliceIndex(0), &endpoint),
		}},
		resource.TestStep{
			PreConfig: func() {
				for id, label := range w.instances(t) {
					if label == "web-c1" {
						if err := w.machines.Shutdown(t.Context(), id); err != nil {
							t.Error(err)
						}
					}
				}
			},
			Config: linodes("a1", "b1"),
			ConfigStateChecks: []statecheck.StateCheck{checkState(func() error {
				client := api.NewOperatorClient(w.key, api.Target{Cluster: "web", Node: "a1", Endpoints: []string{endpoint}})
				defer client.Close()
				status, err := client.Status(t.Context())
				if _, there := status.Nodes["c1"]; there {
					return errors.New("node a1 still has node c1")
				}
				return err
			})},
		},
	)
}
