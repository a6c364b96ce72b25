package database_test

import (
	"testing"

	"github.com/hashicorp/terraform-plugin-framework/types"

	"github.com/atollhq/terraform-provider-atoll/internal/api"
	"github.com/atollhq/terraform-provider-atoll/internal/provider/database"
	"github.com/atollhq/terraform-provider-atoll/internal/spec"
)

func app() spec.Database {
	return spec.Database{
		Engine: spec.DatabaseMySQL, Group: "0f3c6f6e-6a4f-4f6e-9d5b-0123456789ab", Votes: 3, Bootstrap: spec.Bootstrap{Node: "a", Epoch: 1}, Port: 3306,
		Settings: map[string]string{"max_connections": "300"}, Schemas: []string{"shop", "wiki"},
		Users:  map[string]spec.DatabaseUser{"bob": {Password: "sealed once", PasswordVersion: 1, Schemas: []string{"shop", "wiki"}}},
		Router: spec.DatabaseRouter{Driver: spec.RouterMySQL, WritePort: 6446, ReadPort: 6447}, Key: "key",
	}
}

// TestRevision changes with what members have to act on, and with nothing else.
func TestRevision(t *testing.T) {
	t.Parallel()
	of := func(change func(*spec.Database)) string {
		d := app()
		change(&d)
		mark, err := database.Revision(d)
		if err != nil {
			t.Fatal(err)
		}
		return mark
	}
	same := of(func(*spec.Database) {})
	user := func(u spec.DatabaseUser) func(*spec.Database) {
		return func(d *spec.Database) { d.Users = map[string]spec.DatabaseUser{"bob": u} }
	}
	tests := []struct {
		name   string
		change func(*spec.Database)
		same   bool
	}{
		{"a password that was sealed again", user(spec.DatabaseUser{Password: "sealed twice", PasswordVersion: 1, Schemas: []string{"wiki", "shop"}}), true},
		{"the order of schemas", func(d *spec.Database) { d.Schemas = []string{"wiki", "shop"} }, true},
		{"what is made with the database", func(d *spec.Database) { d.Group, d.Key, d.Bootstrap = "", "", spec.Bootstrap{} }, true},
		{"another password", user(spec.DatabaseUser{Password: "sealed", PasswordVersion: 2, Schemas: []string{"shop", "wiki"}}), false},
		{"a user's schemas", user(spec.DatabaseUser{Password: "sealed", PasswordVersion: 1}), false},
		{"a setting", func(d *spec.Database) { d.Settings = map[string]string{"max_connections": "301"} }, false},
		{"no settings", func(d *spec.Database) { d.Settings = nil }, false},
		{"a schema", func(d *spec.Database) { d.Schemas = []string{"shop"} }, false},
		{"votes", func(d *spec.Database) { d.Votes = 5 }, false},
		{"the router", func(d *spec.Database) { d.Router.Driver = spec.RouterHAProxy }, false},
	}
	for _, tt := range tests {
		if got := of(tt.change); (got == same) != tt.same {
			t.Errorf("%s: revision %s, before %s", tt.name, got, same)
		}
	}
}

// TestFromSpec reads an object into a state: what the object does not tell stays as the configuration has it.
func TestFromSpec(t *testing.T) {
	t.Parallel()
	var m database.Model
	if diags := m.FromSpec("web", "app", app()); diags.HasError() {
		t.Fatal(diags)
	}
	want, err := database.Revision(app())
	if err != nil {
		t.Fatal(err)
	}
	if m.ID.ValueString() != "web/app" || m.Revision.ValueString() != want || m.Votes.ValueInt64() != 3 || !m.Version.IsNull() || !m.Accept.IsNull() {
		t.Errorf("got %+v", m)
	}
	d := app()
	d.Settings, d.Version = nil, "9.7"
	m.Settings = types.MapValueMust(types.StringType, nil)
	if diags := m.FromSpec("web", "app", d); diags.HasError() || m.Settings.IsNull() || m.Version.ValueString() != "9.7" {
		t.Errorf("empty settings became null: %+v, %v", m.Settings, diags)
	}
}

func TestStates(t *testing.T) {
	t.Parallel()
	tests := []struct {
		view api.DatabaseView
		want database.State
	}{
		{api.DatabaseView{Votes: 3}, database.New},
		{api.DatabaseView{Votes: 3, Primary: "a", Online: 3, Incarnation: 1}, database.Online},
		{api.DatabaseView{Votes: 3, Primary: "a", Online: 2, Incarnation: 1}, database.Degraded},
		{api.DatabaseView{Votes: 3, Online: 1, Incarnation: 1}, database.Blocked},
		{api.DatabaseView{Votes: 3, Incarnation: 1, Outage: true}, database.Outage},
	}
	for _, tt := range tests {
		if got := database.StateOf(tt.view); got != tt.want {
			t.Errorf("%+v: got %s, want %s", tt.view, got, tt.want)
		}
	}
	online := api.DatabaseMemberView{Role: spec.MemberVoter, State: spec.MemberOnline, Primary: true, Lag: 2}
	if database.RoleOf(online) != database.Primary || database.LagOf(online).ValueFloat64() != 2 {
		t.Errorf("got %s, %v", database.RoleOf(online), database.LagOf(online))
	}
	online.Stale = true
	if database.RoleOf(online) != database.Secondary || database.StateOfMember(online) != api.MemberUnknown || !database.LagOf(online).IsNull() {
		t.Error("what a node said that has not been heard of lately is believed")
	}
}
