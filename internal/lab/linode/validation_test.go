package linode_test

import (
	"encoding/base64"
	"errors"
	"strings"
	"testing"

	"github.com/linode/linodego"

	"github.com/atollhq/terraform-provider-atoll/internal/lab/contract"
	"github.com/atollhq/terraform-provider-atoll/internal/lab/linode"
)

func TestCreateRefusesWhatTheVendorRefuses(t *testing.T) {
	c := vendor(t).Fork()
	ctx := t.Context()
	api := serveThrough(t, &linode.Server{}, c.Middleware)
	create(ctx, t, api, "taken")

	tests := []struct {
		name   string
		change func(*linodego.InstanceCreateOptions)
		field  string
		reason string
	}{
		{"label taken", func(o *linodego.InstanceCreateOptions) { o.Label = "taken" }, "label", "Label must be unique among your linodes"},
		{"label too short", func(o *linodego.InstanceCreateOptions) { o.Label = "a" }, "label", "Length must be 3-64"},
		{"label with two dashes", func(o *linodego.InstanceCreateOptions) { o.Label = "a--b" }, "label", "not repeat"},
		{"label with a digit first", func(o *linodego.InstanceCreateOptions) { o.Label = "1ab" }, "label", "begin with a letter"},
		{"no region", func(o *linodego.InstanceCreateOptions) { o.Region = "" }, "region", "region is required"},
		{"unknown region", func(o *linodego.InstanceCreateOptions) { o.Region = "moon" }, "region", "region is not valid"},
		{"unknown type", func(o *linodego.InstanceCreateOptions) { o.Type = "g9-huge" }, "type", "A valid plan type by that ID was not found"},
		{"unknown image", func(o *linodego.InstanceCreateOptions) { o.Image = "private/404" }, "image", "image is not valid"},
		{"nothing to log in with", func(o *linodego.InstanceCreateOptions) { o.AuthorizedKeys = nil }, "root_pass", "root_pass is required"},
		{"weak password", func(o *linodego.InstanceCreateOptions) { o.RootPass = "x" }, "root_pass", "7-128"},
		{"not a key", func(o *linodego.InstanceCreateOptions) { o.AuthorizedKeys = []string{"hello"} }, "authorized_keys", "SSH Key 1"},
		{"user data not base64", func(o *linodego.InstanceCreateOptions) { o.Metadata.UserData = "{}" }, "metadata.user_data", "Base64"},
		{"user data too long", func(o *linodego.InstanceCreateOptions) {
			o.Metadata.UserData = base64.StdEncoding.EncodeToString(make([]byte, 65536))
		}, "metadata.user_data", "65535 bytes"},
		{"unknown firewall", func(o *linodego.InstanceCreateOptions) { o.FirewallID = 7 }, "firewall_id", "not valid"},
		{"old firewall with new interfaces", func(o *linodego.InstanceCreateOptions) {
			o.InterfaceGeneration, o.FirewallID = linodego.GenerationLinode, 7
		}, "firewall_id", "set it on the interface"},
		{"new network helper with old interfaces", func(o *linodego.InstanceCreateOptions) {
			o.NetworkHelper = linodego.Pointer(true)
		}, "network_helper", "only available"},
		{"old interfaces in the new generation", func(o *linodego.InstanceCreateOptions) {
			o.InterfaceGeneration = linodego.GenerationLinode
			o.Interfaces = []linodego.InstanceConfigInterfaceCreateOptions{{Purpose: linodego.InterfacePurposePublic}}
		}, "interfaces[0].purpose", "not allowed"},
		{"new interfaces in the old generation", func(o *linodego.InstanceCreateOptions) {
			o.LinodeInterfaces = []linodego.LinodeInterfaceCreateOptions{{Public: &linodego.PublicInterfaceCreateOptions{}}}
		}, "interfaces[0].purpose", "required"},
		{"interface of a VPC", func(o *linodego.InstanceCreateOptions) {
			o.Interfaces = []linodego.InstanceConfigInterfaceCreateOptions{{Purpose: linodego.InterfacePurposeVPC, SubnetID: linodego.Pointer(3)}}
		}, "interfaces[0].subnet_id", "not valid"},
		{"tag too short", func(o *linodego.InstanceCreateOptions) { o.Tags = []string{"x"} }, "tags", "3-50"},
		{"maintenance policy", func(o *linodego.InstanceCreateOptions) {
			o.MaintenancePolicy = linodego.Pointer("never")
		}, "maintenance_policy", "Unsupported"},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			options := node("fresh")
			test.change(&options)
			_, err := api.CreateInstance(ctx, options)
			var e *linodego.Error
			if !errors.As(err, &e) {
				t.Fatalf("error %v", err)
			}
			if want := "[" + test.field + "] "; e.Code != 400 || !strings.HasPrefix(e.Message, want) || !strings.Contains(e.Message, test.reason) {
				t.Errorf("error %d %q, want 400 %s…%s", e.Code, e.Message, want, test.reason)
			}
		})
	}
	list, err := api.ListInstances(ctx, nil)
	if err != nil || len(list) != 1 {
		t.Errorf("%d instances, error %v, want the first one only", len(list), err)
	}
	for _, v := range c.Violations() {
		if v.Part == contract.Response || v.Status < 400 {
			t.Errorf("contract: %v", v)
		}
	}
	if len(c.Violations()) == 0 {
		t.Error("the contract let labels with two dashes pass: it checks nothing")
	}
}

func TestUserDataMayBe65535Bytes(t *testing.T) {
	api := serve(t, &linode.Server{})
	options := node("big")
	options.Metadata.UserData = base64.StdEncoding.EncodeToString(make([]byte, 65535))
	if _, err := api.CreateInstance(t.Context(), options); err != nil {
		t.Error(err)
	}
}

func TestNewInterfacesAreAccepted(t *testing.T) {
	ctx := t.Context()
	api := serve(t, &linode.Server{})
	wall, err := api.CreateFirewall(ctx, linodego.FirewallCreateOptions{Label: "web", Rules: linodego.FirewallRuleSet{
		Inbound: []linodego.FirewallRule{}, InboundPolicy: "DROP", Outbound: []linodego.FirewallRule{}, OutboundPolicy: "ACCEPT",
	}})
	if err != nil {
		t.Fatal(err)
	}
	options := node("sg1")
	options.InterfaceGeneration = linodego.GenerationLinode
	options.LinodeInterfaces = []linodego.LinodeInterfaceCreateOptions{{
		FirewallID: linodego.Pointer(wall.ID), Public: &linodego.PublicInterfaceCreateOptions{},
	}}
	made, err := api.CreateInstance(ctx, options)
	if err != nil {
		t.Fatal(err)
	}
	if made.InterfaceGeneration != linodego.GenerationLinode {
		t.Errorf("generation %s", made.InterfaceGeneration)
	}
	devices, err := api.ListFirewallDevices(ctx, wall.ID, nil)
	if err != nil || len(devices) != 1 || devices[0].Entity.ParentEntity == nil || devices[0].Entity.ParentEntity.ID != made.ID {
		t.Errorf("devices %+v, error %v", devices, err)
	}
}

func TestBusyInstanceIsTriedAgain(t *testing.T) {
	ctx := t.Context()
	api := serve(t, &linode.Server{})
	made := create(ctx, t, api, "sg1")
	// linodego waits for "Linode busy." to pass; the creation is still going on.
	if err := api.ShutdownInstance(ctx, made.ID); err != nil {
		t.Fatal(err)
	}
	if _, err := api.WaitForInstanceStatus(ctx, made.ID, linodego.InstanceOffline, 10); err != nil {
		t.Error(err)
	}
}
