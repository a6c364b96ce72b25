package provider_test

import (
	"net/http"
	"testing"
	"time"

	"github.com/hashicorp/terraform-plugin-testing/helper/resource"
	"github.com/hashicorp/terraform-plugin-testing/plancheck"

	"github.com/atollhq/terraform-provider-atoll/internal/lab/linode"
	"github.com/atollhq/terraform-provider-atoll/internal/provider/operator"
)

// tagged is a configuration of one Linode with a tag, which is what is changed in place.
func tagged(tag string) string {
	return clusterConfig + `
resource "atoll_node" "sg1" {
  cluster  = atoll_cluster.web
  name     = "sg1"
  linode   = { region = "ap-south", type = "g6-nanode-1", image = "private/1", tags = ["` + tag + `"] }
  timeouts = { create = "60s" }
}
`
}

// requests are the requests of a node's life, by what they are for.
func requests() map[string]linode.Fault {
	return map[string]linode.Fault{
		"look":   {Method: http.MethodGet, Path: instancesPath},
		"create": {Method: http.MethodPost, Path: instancesPath},
		"read":   {Method: http.MethodGet, PathPrefix: instancesPath + "/"},
		"update": {Method: http.MethodPut, PathPrefix: instancesPath + "/"},
		"delete": {Method: http.MethodDelete, PathPrefix: instancesPath + "/"},
	}
}

// TestPassingFaults has every kind of request of a node's whole life meet one and the same passing fault. None may cost more
// than time, and none may leave anything.
func TestPassingFaults(t *testing.T) {
	t.Parallel()
	for name, fault := range map[string]linode.Fault{
		"409 once":             {Status: http.StatusConflict},
		"busy":                 {Status: http.StatusBadRequest, Reason: "Linode busy.", Times: 3},
		"429 with Retry-After": {Status: http.StatusTooManyRequests, RetryAfter: time.Second},
		"500 once":             {Status: http.StatusInternalServerError},
		"hanging connection":   {Hang: true},
		"lost answer":          {LoseAnswer: true},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			w := newWorld(t)
			for _, r := range requests() {
				fault.Method, fault.Path, fault.PathPrefix = r.Method, r.Path, r.PathPrefix
				w.cloud.Inject(fault)
			}
			w.test(t,
				resource.TestStep{Config: tagged("old"), ConfigPlanChecks: resource.ConfigPlanChecks{
					PostApplyPostRefresh: []plancheck.PlanCheck{plancheck.ExpectEmptyPlan()},
				}},
				resource.TestStep{Config: tagged("new"), ConfigPlanChecks: resource.ConfigPlanChecks{
					PreApply:             []plancheck.PlanCheck{plancheck.ExpectResourceAction("atoll_node.sg1", plancheck.ResourceActionUpdate)},
					PostApplyPostRefresh: []plancheck.PlanCheck{plancheck.ExpectEmptyPlan()},
				}},
			)
			if left := w.cloud.PendingFaults(); left != 0 {
				t.Errorf("%d faults have not happened", left)
			}
		})
	}
}

// TestLastingFaults has one kind of request fail for good, at any time of a node's life. The error says what it is, and once
// it has passed the next apply does the rest: nothing is lost, nothing is made twice, nothing is left.
func TestLastingFaults(t *testing.T) {
	t.Parallel()
	const token = "LINODE_TOKEN"
	tests := []struct {
		name    string
		request string
		fault   linode.Fault
		want    []string
	}{
		{"401 on create", "create", linode.Fault{Status: http.StatusUnauthorized}, []string{"create instance", "401", token}},
		{"401 on read", "read", linode.Fault{Status: http.StatusUnauthorized}, []string{"read instance", "401", token}},
		{"401 on update", "update", linode.Fault{Status: http.StatusUnauthorized}, []string{"update instance", "401", token}},
		{"401 on delete", "delete", linode.Fault{Status: http.StatusUnauthorized}, []string{"delete instance", "401", token}},
		{"404 on update", "update", linode.Fault{Status: http.StatusNotFound}, []string{"update instance", "404", "apply again"}},
		{"409 on create", "create", linode.Fault{Status: http.StatusConflict}, []string{"create instance", "conflict", "409"}},
		{"409 on update", "update", linode.Fault{Status: http.StatusConflict}, []string{"update instance", "conflict", "409"}},
		{"409 on delete", "delete", linode.Fault{Status: http.StatusConflict}, []string{"delete instance", "conflict", "409"}},
		{"429 on delete", "delete", linode.Fault{Status: http.StatusTooManyRequests}, []string{"delete instance", "429", "-parallelism"}},
		{"500 on create", "create", linode.Fault{Status: http.StatusInternalServerError}, []string{"create instance", "500", "status.linode.com"}},
		{"500 on read", "read", linode.Fault{Status: http.StatusInternalServerError}, []string{"read instance", "500", "status.linode.com"}},
		{"hang on create", "create", linode.Fault{Hang: true}, []string{"create instance", "unreachable", "LINODE_URL"}},
		{"hang on delete", "delete", linode.Fault{Hang: true}, []string{"delete instance", "unreachable", "LINODE_URL"}},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			w := newWorld(t)
			w.adjust = func(c *operator.Config) { c.Linode.Timeout = 500 * time.Millisecond }
			r := requests()[tt.request]
			fault := tt.fault
			fault.Method, fault.Path, fault.PathPrefix, fault.Times = r.Method, r.Path, r.PathPrefix, -1
			passes := func() {}
			begins := func() { passes = w.cloud.Inject(fault) }
			steps := []resource.TestStep{
				{Config: tagged("old")},
				{PreConfig: begins, Config: tagged("new"), ExpectError: says(tt.want...)},
				{PreConfig: func() { passes() }, Config: tagged("new"), ConfigPlanChecks: resource.ConfigPlanChecks{
					PostApplyPostRefresh: []plancheck.PlanCheck{plancheck.ExpectEmptyPlan()},
				}},
			}
			switch tt.request {
			case "create":
				steps = steps[1:]
			case "delete":
				steps[1].Config, steps[2].Config = clusterConfig, clusterConfig
			}
			w.test(t, steps...)
			if t.Failed() {
				return
			}
			if w.cloud.PendingFaults() != 0 {
				t.Error("the fault was never taken back")
			}
		})
	}
}

// TestTokenRevoked removes a node with a token that the cloud does not know any more. The node stays in its cluster, since
// its machine would go on running.
func TestTokenRevoked(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	revoke := func(token string) func() { return func() { w.env["LINODE_TOKEN"] = token } }
	w.test(t,
		resource.TestStep{Config: linodeNode("sg1", "")},
		resource.TestStep{PreConfig: revoke("revoked"), Config: clusterConfig, ExpectError: says("401", "LINODE_TOKEN")},
		resource.TestStep{PreConfig: revoke(token), Config: linodeNode("sg1", ""), ConfigPlanChecks: resource.ConfigPlanChecks{
			PreApply: []plancheck.PlanCheck{plancheck.ExpectEmptyPlan()},
		}},
	)
}

// TestOperatorsClock makes nodes while the operator's clock is wrong. Five minutes do no harm; with an hour or a day nothing
// is made, and the error names the clocks and the remedy.
func TestOperatorsClock(t *testing.T) {
	t.Parallel()
	for name, wrong := range map[string]time.Duration{
		"5 minutes ahead": 5 * time.Minute, "5 minutes behind": -5 * time.Minute,
		"an hour ahead": time.Hour, "a day behind": -24 * time.Hour,
	} {
		for _, variant := range []string{"linode", "ssh"} {
			t.Run(name+" "+variant, func(t *testing.T) {
				t.Parallel()
				w := newWorld(t)
				config := linodeNode("sg1", "")
				if variant == "ssh" {
					b := w.newBox(t)
					b.ssh.SetClock(-wrong)
					config = b.machineNode("sg1", b.ssh.HostKey(), "")
				} else {
					w.adjust = func(c *operator.Config) { c.Linode.Transport = dated{-wrong} }
				}
				step := resource.TestStep{Config: config}
				if wrong.Abs() > 10*time.Minute {
					direction := map[bool]string{true: "ahead of", false: "behind"}[wrong > 0]
					step.ExpectError = says("Clocks disagree", "clock of this computer", direction, "timedatectl")
				}
				w.test(t, step)
			})
		}
	}
}

// dated is a way to an API whose clock is not ours.
type dated struct{ ahead time.Duration }

// RoundTrip implements http.RoundTripper.
func (d dated) RoundTrip(r *http.Request) (*http.Response, error) {
	resp, err := http.DefaultTransport.RoundTrip(r)
	if err == nil {
		resp.Header.Set("Date", time.Now().Add(d.ahead).UTC().Format(http.TimeFormat))
	}
	return resp, err
}
