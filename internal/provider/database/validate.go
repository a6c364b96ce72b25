package database

import (
	"fmt"
	"slices"
	"strings"

	"github.com/hashicorp/terraform-plugin-framework/diag"
	"github.com/hashicorp/terraform-plugin-framework/path"

	"github.com/atollhq/terraform-provider-atoll/internal/provider/diagnose"
	"github.com/atollhq/terraform-provider-atoll/internal/spec"
)

// placeholder stands for what is made when the database is.
const placeholder = "0f000000-0000-4000-8000-000000000000"

// validate returns what is wrong with what is known of the database.
func (d described) validate(m *Model) diag.Diagnostics {
	body := d.body
	body.Group, body.Key = placeholder, placeholder
	if body.Bootstrap.Node == "" {
		body.Bootstrap.Node = "a"
	}
	body.Bootstrap.Epoch = max(body.Bootstrap.Epoch, 1)
	users := map[string]spec.DatabaseUser{}
	for name, u := range body.Users {
		u.Password = placeholder
		users[name] = u
	}
	body.Users = users
	var diags diag.Diagnostics
	if d.name != "" || !m.Name.IsUnknown() {
		diags.Append(problems(spec.ValidateName("name", d.name))...)
	}
	diags.Append(problems(slices.DeleteFunc(body.Validate(), func(p spec.Problem) bool {
		return d.unknown[p.Field] || d.unknown["schemas"] && strings.HasSuffix(p.Field, ".schemas")
	}))...)
	if d.node && d.primaryCluster != "" && d.cluster != "" && d.primaryCluster != d.cluster {
		diags.AddAttributeError(path.Root("preferred_primary").AtName("cluster"), invalid, fmt.Sprintf(
			"preferred_primary is a node of cluster %q, the database one of %q.\n\nName a node of the database's own cluster.", d.primaryCluster, d.cluster))
	}
	return diags
}

// validateChange returns what cannot be changed of a database that exists without losing it.
func (d described) validateChange(m, state *Model) diag.Diagnostics {
	var diags diag.Diagnostics
	if state == nil || !state.Name.Equal(m.Name) || !state.Cluster.Equal(m.Cluster) || !state.Engine.Equal(m.Engine) {
		return diags // it is another database
	}
	if known(m.Port) && known(state.Port) && !m.Port.Equal(state.Port) {
		diags.AddAttributeError(path.Root("port"), invalid, fmt.Sprintf(
			"The port of a database that exists cannot change (%d to %d): members find each other by it, so none could change without the others.\n\n"+
				"Keep it, or make another database and move the data there.", state.Port.ValueInt64(), m.Port.ValueInt64()))
	}
	if known(m.BootstrapEpoch) && m.BootstrapEpoch.ValueInt64() < state.BootstrapEpoch.ValueInt64() {
		diags.AddAttributeError(path.Root("bootstrap_epoch"), invalid, fmt.Sprintf(
			"bootstrap_epoch counts up: %d has been used and %d is less.\n\nKeep it.", state.BootstrapEpoch.ValueInt64(), m.BootstrapEpoch.ValueInt64()))
	}
	if m.Settings.IsUnknown() {
		return diags
	}
	had := state.Settings.Elements()
	for _, name := range spec.MySQLSettingsOfData() {
		have, was := had[name], m.Settings.Elements()[name]
		if have == nil && was == nil || have != nil && was != nil && (have.Equal(was) || was.IsUnknown()) {
			continue
		}
		diags.AddAttributeError(path.Root("settings").AtMapKey(name), invalid, fmt.Sprintf(
			"%s is fixed when the data is made and cannot change for a database that exists.\n\nKeep it, or make another database and move the data there.", name))
	}
	return diags
}

// problems returns the diagnostics of a database object's problems.
func problems(ps spec.Problems) diag.Diagnostics {
	var diags diag.Diagnostics
	for _, p := range ps {
		at, name := attribute(p.Field)
		diags.AddAttributeError(at, invalid, diagnose.Sentence(name+" "+p.Message, p.Remedy))
	}
	return diags
}

// attribute returns where a field of the database object is configured, and what it is called there.
func attribute(field string) (at path.Path, name string) {
	switch {
	case field == "schemas":
		return path.Root("databases"), "databases"
	case field == "bootstrap.node":
		return path.Root("preferred_primary").AtName("name"), "preferred_primary"
	case field == "bootstrap.epoch":
		return path.Root("bootstrap_epoch"), "bootstrap_epoch"
	case field == "accept.providers":
		return path.Root("accept").AtName("provider_majority"), "accept.provider_majority"
	case field == "accept.sites":
		return path.Root("accept").AtName("site_majority"), "accept.site_majority"
	case strings.HasPrefix(field, "settings."):
		return path.Root("settings").AtMapKey(strings.TrimPrefix(field, "settings.")), field
	case strings.HasPrefix(field, "users."):
		user := strings.TrimPrefix(field, "users.")
		if u, ok := strings.CutSuffix(user, ".schemas"); ok {
			return path.Root("users").AtMapKey(u).AtName("databases"), "users." + u + ".databases"
		}
		if u, ok := strings.CutSuffix(user, ".password"); ok {
			return path.Root("users").AtMapKey(u).AtName("password"), field
		}
		return path.Root("users").AtMapKey(user), field
	default:
		return diagnose.Field(path.Empty(), field, nil), field
	}
}
