package database

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"maps"
	"slices"

	"github.com/hashicorp/terraform-plugin-framework-timeouts/resource/timeouts"
	"github.com/hashicorp/terraform-plugin-framework/attr"
	"github.com/hashicorp/terraform-plugin-framework/diag"
	"github.com/hashicorp/terraform-plugin-framework/types"
	"github.com/hashicorp/terraform-plugin-framework/types/basetypes"

	"github.com/atollhq/terraform-provider-atoll/internal/provider/reference"
	"github.com/atollhq/terraform-provider-atoll/internal/spec"
)

// Model is the resource's state.
type Model struct {
	ID               types.String `tfsdk:"id"`
	Cluster          types.Object `tfsdk:"cluster"`
	Name             types.String `tfsdk:"name"`
	Engine           types.String `tfsdk:"engine"`
	Version          types.String `tfsdk:"version"`
	Votes            types.Int64  `tfsdk:"votes"`
	PreferredPrimary types.Object `tfsdk:"preferred_primary"`
	BootstrapEpoch   types.Int64  `tfsdk:"bootstrap_epoch"`
	Port             types.Int64  `tfsdk:"port"`
	Settings         types.Map    `tfsdk:"settings"`
	Databases        types.Set    `tfsdk:"databases"`
	Users            types.Map    `tfsdk:"users"`
	Router           types.Object `tfsdk:"router"`
	Accept           types.Object `tfsdk:"accept"`

	Group       types.String `tfsdk:"group"`
	Revision    types.String `tfsdk:"revision"`
	State       types.String `tfsdk:"state"`
	Primary     types.String `tfsdk:"primary"`
	Incarnation types.Int64  `tfsdk:"incarnation"`
	Members     types.Map    `tfsdk:"members"`

	Timeouts timeouts.Value `tfsdk:"timeouts"`
}

// userModel is an account. The password is write-only: it is in the configuration alone, never in a plan or a state.
type userModel struct {
	Password        types.String `tfsdk:"password"`
	PasswordVersion types.Int64  `tfsdk:"password_version"`
	Databases       types.Set    `tfsdk:"databases"`
}

type routerModel struct {
	Driver    types.String `tfsdk:"driver"`
	WritePort types.Int64  `tfsdk:"write_port"`
	ReadPort  types.Int64  `tfsdk:"read_port"`
}

func userTypes() map[string]attr.Type {
	return map[string]attr.Type{
		"password": types.StringType, "password_version": types.Int64Type, "databases": types.SetType{ElemType: types.StringType},
	}
}

func routerTypes() map[string]attr.Type {
	return map[string]attr.Type{"driver": types.StringType, "write_port": types.Int64Type, "read_port": types.Int64Type}
}

func memberTypes() map[string]attr.Type {
	return map[string]attr.Type{"role": types.StringType, "state": types.StringType, "lag": types.Float64Type}
}

func defaultRouter() spec.DatabaseRouter {
	return spec.DatabaseRouter{Driver: spec.RouterMySQL, WritePort: DefaultWritePort, ReadPort: DefaultReadPort}
}

func routerValue(r spec.DatabaseRouter) types.Object {
	return types.ObjectValueMust(routerTypes(), map[string]attr.Value{
		"driver": types.StringValue(string(r.Driver)), "write_port": types.Int64Value(int64(r.WritePort)), "read_port": types.Int64Value(int64(r.ReadPort)),
	})
}

// described is a database as a configuration describes it.
type described struct {
	cluster, name string
	// body has everything but the group, the key and the sealed passwords. What is unknown is left out.
	body spec.Database
	// complete tells that nothing is unknown that members have to put into effect, node that the preferred primary is known.
	complete, node bool
	primary        reference.Node
	primaryCluster string
	// unknown are the fields of body that are not known yet.
	unknown map[string]bool
}

func known(v attr.Value) bool { return !v.IsNull() && !v.IsUnknown() }

// describe reads the model. Values may be unknown.
func (m *Model) describe(ctx context.Context) (described, diag.Diagnostics) {
	d := described{name: m.Name.ValueString(), complete: true, unknown: map[string]bool{}}
	cluster, diags := reference.NameOf(ctx, m.Cluster)
	d.cluster = cluster.ValueString()
	miss := func(field string, v attr.Value) {
		if v.IsUnknown() {
			d.complete, d.unknown[field] = false, true
		}
	}
	miss("engine", m.Engine)
	miss("version", m.Version)
	miss("votes", m.Votes)
	miss("port", m.Port)
	d.body = spec.Database{
		Engine: spec.DatabaseEngine(m.Engine.ValueString()), Version: m.Version.ValueString(), Votes: int(m.Votes.ValueInt64()), Port: int(m.Port.ValueInt64()),
		Bootstrap: spec.Bootstrap{Epoch: int(m.BootstrapEpoch.ValueInt64())}, Group: m.Group.ValueString(),
	}
	d.readSettings(m.Settings)
	schemas, whole := reference.SetStrings(m.Databases)
	d.body.Schemas = schemas
	if !whole {
		d.complete, d.unknown["schemas"] = false, true
	}
	diags.Append(d.readUsers(ctx, m.Users)...)
	diags.Append(d.readRouter(ctx, m.Router)...)
	accepted, whole, more := reference.Accepted(ctx, m.Accept)
	diags.Append(more...)
	d.body.Accept = accepted
	if !whole {
		d.complete = false
	}
	primary, ok, more := reference.NodeFrom(ctx, m.PreferredPrimary)
	diags.Append(more...)
	d.primary, d.primaryCluster, d.node = primary, primary.Cluster.Name.ValueString(), ok && known(primary.Name)
	d.body.Bootstrap.Node = primary.Name.ValueString()
	return d, diags
}

func (d *described) readSettings(settings types.Map) {
	if settings.IsUnknown() {
		d.complete = false
	}
	for name, value := range settings.Elements() {
		text, ok := value.(types.String)
		if !ok || !known(text) {
			d.complete = d.complete && !value.IsUnknown()
			continue
		}
		if d.body.Settings == nil {
			d.body.Settings = map[string]string{}
		}
		d.body.Settings[name] = text.ValueString()
	}
}

func (d *described) readUsers(ctx context.Context, users types.Map) diag.Diagnostics {
	var diags diag.Diagnostics
	if users.IsUnknown() {
		d.complete = false
	}
	for name, value := range users.Elements() {
		o, ok := value.(types.Object)
		if !ok || !known(o) {
			d.complete = d.complete && !value.IsUnknown()
			continue
		}
		var u userModel
		diags.Append(o.As(ctx, &u, basetypes.ObjectAsOptions{})...)
		schemas, whole := reference.SetStrings(u.Databases)
		if !whole || u.PasswordVersion.IsUnknown() {
			d.complete = false
		}
		if d.body.Users == nil {
			d.body.Users = map[string]spec.DatabaseUser{}
		}
		d.body.Users[name] = spec.DatabaseUser{PasswordVersion: u.PasswordVersion.ValueInt64(), Schemas: schemas}
	}
	return diags
}

func (d *described) readRouter(ctx context.Context, router types.Object) diag.Diagnostics {
	if !known(router) {
		d.complete = d.complete && !router.IsUnknown()
		d.body.Router = defaultRouter()
		return nil
	}
	var r routerModel
	diags := router.As(ctx, &r, basetypes.ObjectAsOptions{})
	for field, v := range map[string]attr.Value{"router.driver": r.Driver, "router.write_port": r.WritePort, "router.read_port": r.ReadPort} {
		if v.IsUnknown() {
			d.complete, d.unknown[field] = false, true
		}
	}
	d.body.Router = spec.DatabaseRouter{
		Driver: spec.RouterDriver(r.Driver.ValueString()), WritePort: int(r.WritePort.ValueInt64()), ReadPort: int(r.ReadPort.ValueInt64()),
	}
	return diags
}

// Revision tells bodies apart as far as members have to act on them. Sealing a password twice gives two texts, so its version counts,
// and where a database has begun is settled.
func Revision(d spec.Database) (string, error) {
	d.Group, d.Key, d.Bootstrap = "", "", spec.Bootstrap{}
	d.Schemas = slices.Sorted(slices.Values(d.Schemas))
	users := maps.Clone(d.Users)
	for name, u := range users {
		u.Password, u.Schemas = "", slices.Sorted(slices.Values(u.Schemas))
		users[name] = u
	}
	d.Users = users
	data, err := json.Marshal(d)
	if err != nil {
		return "", fmt.Errorf("encode database: %w", err)
	}
	sum := sha256.Sum256(data)
	return hex.EncodeToString(sum[:8]), nil
}

// FromSpec sets what a database object says. Where it begins stays as it is, since the object has the node's name alone.
func (m *Model) FromSpec(cluster, name string, d spec.Database) diag.Diagnostics {
	m.ID, m.Cluster, m.Name = types.StringValue(databaseID(cluster, name)), reference.NamedValue(cluster), types.StringValue(name)
	m.Engine, m.Version = types.StringValue(string(d.Engine)), types.StringNull()
	if d.Version != "" {
		m.Version = types.StringValue(d.Version)
	}
	m.Votes, m.Port, m.BootstrapEpoch = types.Int64Value(int64(d.Votes)), types.Int64Value(int64(d.Port)), types.Int64Value(int64(d.Bootstrap.Epoch))
	m.Databases = keepEmptySet(m.Databases, reference.StringSetOrNull(d.Schemas))
	m.Settings = keepEmptyMap(m.Settings, settingsValue(d.Settings))
	m.Users = keepEmptyMap(m.Users, usersValue(d.Users))
	m.Router, m.Accept = routerValue(d.Router), keepEmptyObject(m.Accept, reference.AcceptValue(d.Accept))
	m.Group = types.StringValue(d.Group)
	mark, err := Revision(d)
	if err != nil {
		return diag.Diagnostics{diag.NewErrorDiagnostic(invalid, err.Error()+".")}
	}
	m.Revision = types.StringValue(mark)
	return nil
}

// An object does not tell nothing from an empty collection: what the configuration has stays.
func keepEmptyMap(have, want types.Map) types.Map {
	if want.IsNull() && known(have) && len(have.Elements()) == 0 {
		return have
	}
	return want
}

func keepEmptySet(have, want types.Set) types.Set {
	if want.IsNull() && known(have) && len(have.Elements()) == 0 {
		return have
	}
	return want
}

func keepEmptyObject(have, want types.Object) types.Object {
	if want.IsNull() && known(have) && !slices.ContainsFunc(slices.Collect(maps.Values(have.Attributes())), known) {
		return have
	}
	return want
}

func settingsValue(settings map[string]string) types.Map {
	if len(settings) == 0 {
		return types.MapNull(types.StringType)
	}
	out := map[string]attr.Value{}
	for name, value := range settings {
		out[name] = types.StringValue(value)
	}
	return types.MapValueMust(types.StringType, out)
}

func usersValue(users map[string]spec.DatabaseUser) types.Map {
	t := types.ObjectType{AttrTypes: userTypes()}
	if len(users) == 0 {
		return types.MapNull(t)
	}
	out := map[string]attr.Value{}
	for name, u := range users {
		out[name] = types.ObjectValueMust(userTypes(), map[string]attr.Value{
			"password": types.StringNull(), "password_version": types.Int64Value(u.PasswordVersion), "databases": reference.StringSetOrNull(u.Schemas),
		})
	}
	return types.MapValueMust(t, out)
}

func databaseID(cluster, name string) string { return cluster + "/" + name }
