package cluster

import (
	"context"
	"net/netip"

	"github.com/hashicorp/terraform-plugin-framework/diag"
	"github.com/hashicorp/terraform-plugin-framework/types"
	"github.com/hashicorp/terraform-plugin-framework/types/basetypes"

	"github.com/atollhq/terraform-provider-atoll/internal/provider/reference"
	"github.com/atollhq/terraform-provider-atoll/internal/spec"
	"github.com/atollhq/terraform-provider-atoll/internal/trust"
)

// Model is the resource's state.
type Model struct {
	ID           types.String `tfsdk:"id"`
	Name         types.String `tfsdk:"name"`
	MeshCIDR     types.String `tfsdk:"mesh_cidr"`
	Mesh         types.Object `tfsdk:"mesh"`
	Ports        types.Object `tfsdk:"ports"`
	Seeds        types.Set    `tfsdk:"seeds"`
	PublicKey    types.String `tfsdk:"public_key"`
	SignedObject types.String `tfsdk:"signed_object"`
}

type meshModel struct {
	Driver types.String `tfsdk:"driver"`
	Port   types.Int64  `tfsdk:"port"`
	Tinc   types.Object `tfsdk:"tinc"`

	KeyGeneration types.Int64 `tfsdk:"key_generation"`
}

type tincModel struct {
	PingInterval types.Int64 `tfsdk:"ping_interval"`
	PingTimeout  types.Int64 `tfsdk:"ping_timeout"`
	MaxTimeout   types.Int64 `tfsdk:"max_timeout"`
}

type portsModel struct {
	API    types.Int64 `tfsdk:"api"`
	Health types.Int64 `tfsdk:"health"`
	Gossip types.Int64 `tfsdk:"gossip"`
	Map    types.Int64 `tfsdk:"map"`
}

// ToSpec returns the cluster that the model describes. What is null or unknown has its default, so that the rest can be
// checked before everything is known.
func (m Model) ToSpec(ctx context.Context) (spec.Cluster, diag.Diagnostics) {
	c := spec.Cluster{Mesh: spec.DefaultMesh(), Ports: spec.DefaultPorts()}
	var diags diag.Diagnostics
	if known(m.MeshCIDR) {
		// What does not parse stays invalid, which Validate reports.
		c.MeshCIDR, _ = netip.ParsePrefix(m.MeshCIDR.ValueString())
	}
	var ports portsModel
	if known(m.Ports) {
		diags.Append(m.Ports.As(ctx, &ports, basetypes.ObjectAsOptions{})...)
		set(&c.Ports.API, ports.API)
		set(&c.Ports.Health, ports.Health)
		set(&c.Ports.Gossip, ports.Gossip)
		set(&c.Ports.Map, ports.Map)
	}
	var mesh meshModel
	if known(m.Mesh) {
		diags.Append(m.Mesh.As(ctx, &mesh, basetypes.ObjectAsOptions{})...)
		if known(mesh.Driver) {
			c.Mesh.Driver = spec.MeshDriver(mesh.Driver.ValueString())
		}
		set(&c.Mesh.Port, mesh.Port)
		set(&c.Mesh.KeyGeneration, mesh.KeyGeneration)
		if c.Mesh.KeyGeneration == 1 {
			// What says nothing new is left out: older agents know nothing of it.
			c.Mesh.KeyGeneration = 0
		}
	}
	if known(mesh.Tinc) {
		var tinc tincModel
		diags.Append(mesh.Tinc.As(ctx, &tinc, basetypes.ObjectAsOptions{})...)
		t := spec.DefaultTinc()
		set(&t.PingInterval, tinc.PingInterval)
		set(&t.PingTimeout, tinc.PingTimeout)
		set(&t.MaxTimeout, tinc.MaxTimeout)
		// Every mesh shows the timers in the state, since they have defaults; only those that were chosen say something.
		if c.Mesh.Driver == spec.MeshTinc || t != spec.DefaultTinc() {
			c.Mesh.Tinc = &t
		}
	}
	for _, e := range m.Seeds.Elements() {
		if s, ok := e.(types.String); ok && known(s) {
			c.Seeds = append(c.Seeds, s.ValueString())
		}
	}
	return c, diags
}

// FromSigned sets everything that a signed cluster object says.
func (m *Model) FromSigned(s reference.Signed, key trust.PublicKey) error {
	text, err := reference.EncodeSigned(s.Envelope)
	if err != nil {
		return err
	}
	m.ID, m.Name = types.StringValue(s.Object.Cluster), types.StringValue(s.Object.Cluster)
	m.MeshCIDR = types.StringValue(s.Cluster.MeshCIDR.String())
	m.Mesh, m.Ports = meshValue(s.Cluster.Mesh), portsValue(s.Cluster.Ports)
	if len(s.Cluster.Seeds) > 0 || m.Seeds.IsNull() || m.Seeds.IsUnknown() {
		m.Seeds = seedsValue(s.Cluster.Seeds)
	}
	m.PublicKey, m.SignedObject = types.StringValue(key.String()), types.StringValue(text)
	return nil
}

func seedsValue(seeds []string) types.Set {
	if len(seeds) == 0 {
		return types.SetNull(types.StringType)
	}
	return types.SetValueMust(types.StringType, reference.StringList(seeds).Elements())
}

func known(v interface {
	IsNull() bool
	IsUnknown() bool
},
) bool {
	return !v.IsNull() && !v.IsUnknown()
}

func set(to *int, v types.Int64) {
	if known(v) {
		*to = int(v.ValueInt64())
	}
}
