package node

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strconv"

	"github.com/hashicorp/terraform-plugin-framework/attr"
	"github.com/hashicorp/terraform-plugin-framework/diag"
	"github.com/hashicorp/terraform-plugin-framework/path"
	"github.com/hashicorp/terraform-plugin-framework/types"

	"github.com/atollhq/terraform-provider-atoll/internal/cloud/linode"
	"github.com/atollhq/terraform-provider-atoll/internal/platform"
	"github.com/atollhq/terraform-provider-atoll/internal/provider/cloudfirewall"
	"github.com/atollhq/terraform-provider-atoll/internal/provider/diagnose"
	"github.com/atollhq/terraform-provider-atoll/internal/provider/mark"
)

// linodeMachine is an instance that Atoll creates.
type linodeMachine struct{}

// maxLabel is the longest label of an instance.
const maxLabel = 64

// instanceLabel is the label of a node's instance unless another is given.
func instanceLabel(cluster, name string) string { return mark.Label(cluster, name, maxLabel) }

func linodePath() path.Path { return path.Root("linode") }

func (linodeMachine) provision(ctx context.Context, t *task, payload []byte, save saver) diag.Diagnostics {
	const failed = "Create Linode"
	l, _, diags := t.model.linode(ctx)
	client, err := t.op.Linode()
	if err != nil {
		diags.Append(diagnose.Linode(failed, linodePath(), err)...)
		return diags
	}
	in, more := l.create(ctx, t.mark(), payload)
	diags.Append(more...)
	if ahead, known := client.ClockAhead(); known {
		diags.Append(t.checkClock(linodePath(), "Linode's API", ahead)...)
	}
	if diags.HasError() {
		return diags
	}
	if in.FirewallID, more = t.firewallID(ctx, client, l, save); more.HasError() {
		diags.Append(more...)
		return diags
	}
	inst, adopted, err := client.CreateInstance(ctx, in)
	if err != nil {
		diags.Append(diagnose.Linode(failed, linodePath(), err)...)
		return diags
	}
	if adopted {
		// It may be another state's finished node: then it is not ours to keep, and not ours to delete after a failure.
		if diags.Append(t.refuseOthers(ctx, linodePath(), fmt.Sprintf("Instance %d (%s)", inst.ID, inst.Label), inst.Addresses())...); diags.HasError() {
			return diags
		}
		t.ticket = "" // its user data is from the run that made it, which may be an earlier one
		if inst, err = client.SettleTags(ctx, inst, in); err != nil {
			diags.Append(diagnose.Linode(failed, linodePath(), err)...)
			return diags
		}
	}
	t.model.InstanceID = types.StringValue(strconv.Itoa(inst.ID))
	if t.taken != nil {
		t.model.LinodeFirewall = wallFrom(*t.taken, inst.ID)
	}
	t.model.useAddresses(inst, t.api)
	diags.Append(save()...)
	if diags.HasError() {
		return diags
	}
	if inst, err = client.WaitRunning(ctx, inst.ID); err != nil {
		diags.Append(diagnose.Linode("Start Linode", linodePath(), err)...)
		return diags
	}
	t.model.useAddresses(inst, t.api)
	return diags
}

// firewallID returns the firewall that the instance is made behind, 0 for none: Atoll's own, which is made before, or another.
func (t *task) firewallID(ctx context.Context, client *linode.Client, l linodeModel, save saver) (int, diag.Diagnostics) {
	id, diags := t.makeWall(ctx, client, save)
	if id == 0 {
		id = int(l.FirewallID.ValueInt64())
	}
	return id, diags
}

// useAddresses takes the instance's addresses unless others are configured.
func (m *Model) useAddresses(inst linode.Instance, apiPort int) {
	if m.Addresses.IsUnknown() || m.Addresses.IsNull() {
		m.setAddresses(inst.Addresses(), apiPort)
	}
}

func (l linodeModel) create(ctx context.Context, mark string, payload []byte) (linode.Create, diag.Diagnostics) {
	userData, err := platform.Compose(payload, []byte(l.UserData.ValueString()))
	if err != nil {
		return linode.Create{}, diag.Diagnostics{diag.NewAttributeErrorDiagnostic(linodePath().AtName("user_data"), invalid, "user_data: "+err.Error()+".")}
	}
	in := linode.Create{
		Label: l.Label.ValueString(), Region: l.Region.ValueString(), Type: l.Type.ValueString(), Image: l.Image.ValueString(),
		Mark: mark, UserData: userData,
		Generation: linode.Generation(l.InterfaceGeneration.ValueString()),
	}
	diags := stringsOf(ctx, l.Tags, &in.Tags)
	diags.Append(stringsOf(ctx, l.AuthorizedKeys, &in.AuthorizedKeys)...)
	return in, diags
}

func stringsOf(ctx context.Context, s types.Set, to *[]string) diag.Diagnostics {
	if !known(s) {
		return nil
	}
	return s.ElementsAs(ctx, to, false)
}

// read compares the state with the instance. gone tells that there is none any more.
func (linodeMachine) read(ctx context.Context, t *task) (gone bool, diags diag.Diagnostics) {
	id, err := strconv.Atoi(t.model.InstanceID.ValueString())
	if err != nil {
		return true, nil // creating it never came so far
	}
	client, err := t.op.Linode()
	if err != nil {
		diags.Append(diagnose.Linode("Read Linode", linodePath(), err)...)
		return false, diags
	}
	inst, err := client.Instance(ctx, id)
	if errors.Is(err, linode.ErrNotFound) {
		return true, nil
	}
	if err != nil {
		diags.Append(diagnose.Linode("Read Linode", linodePath(), err)...)
		return false, diags
	}
	l, _, more := t.model.linode(ctx)
	diags.Append(more...)
	l.fromAPI(ctx, inst, t.mark())
	diags.Append(t.model.setLinode(ctx, l)...)
	diags.Append(t.readWall(ctx, client, inst)...)
	return false, diags
}

// fromAPI is the one place where an instance becomes the argument linode. What the API does not tell stays.
func (l *linodeModel) fromAPI(ctx context.Context, inst linode.Instance, mark string) {
	l.Region, l.Type, l.Label = types.StringValue(inst.Region), types.StringValue(inst.Type), types.StringValue(inst.Label)
	l.imageFromAPI(inst)
	if inst.Generation != "" {
		l.InterfaceGeneration = types.StringValue(string(inst.Generation))
	}
	var tags []string
	for _, tag := range inst.Tags {
		if tag != mark {
			tags = append(tags, tag)
		}
	}
	if len(tags) > 0 || len(l.Tags.Elements()) > 0 || !known(l.Tags) {
		l.Tags = stringSet(tags)
	}
	if l.Firewall.IsUnknown() || l.Firewall.AttributeTypes(ctx) == nil {
		l.Firewall = types.ObjectNull(cloudFirewallTypes())
	}
	if l.AuthorizedKeys.IsUnknown() || l.AuthorizedKeys.ElementType(ctx) == nil {
		l.AuthorizedKeys = types.SetNull(types.StringType)
	}
}

func stringSet(in []string) types.Set {
	if len(in) == 0 {
		return types.SetNull(types.StringType)
	}
	slices.Sort(in)
	values := make([]attr.Value, len(in))
	for i, s := range in {
		values[i] = types.StringValue(s)
	}
	return types.SetValueMust(types.StringType, values)
}

func (linodeMachine) update(ctx context.Context, t *task, state Model) diag.Diagnostics {
	now, _, diags := t.model.linode(ctx)
	was, _, more := state.linode(ctx)
	diags.Append(more...)
	if diags.HasError() || now.Label.Equal(was.Label) && now.Tags.Equal(was.Tags) {
		return diags
	}
	client, err := t.op.Linode()
	if err != nil {
		diags.Append(diagnose.Linode("Update Linode", linodePath(), err)...)
		return diags
	}
	id, err := strconv.Atoi(t.model.InstanceID.ValueString())
	if err != nil {
		diags.AddAttributeError(path.Root("instance_id"), "Update Linode", fmt.Sprintf("%q is not the id of an instance.", t.model.InstanceID.ValueString()))
		return diags
	}
	var tags []string
	diags.Append(stringsOf(ctx, now.Tags, &tags)...)
	if _, err := client.UpdateInstance(ctx, id, now.Label.ValueString(), t.mark(), tags); err != nil {
		diags.Append(diagnose.Linode("Update Linode", linodePath(), err)...)
	}
	return diags
}

func (linodeMachine) remove(ctx context.Context, t *task) diag.Diagnostics {
	wall, guarded, diags := t.model.wall(ctx)
	id, made := strconv.Atoi(t.model.InstanceID.ValueString())
	if made != nil && !guarded || diags.HasError() {
		return diags // creating it never came so far
	}
	client, err := t.op.Linode()
	switch {
	case err != nil:
	case made == nil:
		err = client.DeleteInstance(ctx, id)
	default:
		err = t.removeLost(ctx, client, int(wall.ID.ValueInt64()))
	}
	if err != nil {
		return diagnose.Linode("Delete Linode", linodePath(), err)
	}
	// Not before: the machine must not stand there without it.
	if guarded {
		if err := client.DeleteFirewall(ctx, int(wall.ID.ValueInt64())); err != nil {
			return cloudfirewall.Problem(err)
		}
	}
	return diags
}

// beforeRemoval asks for the instance with the token that is to delete it. Only a refusal counts: an API that is down must
// not keep a node in its cluster.
func (linodeMachine) beforeRemoval(ctx context.Context, t *task) diag.Diagnostics {
	id, err := strconv.Atoi(t.model.InstanceID.ValueString())
	if err != nil {
		return nil // there is nothing to delete
	}
	client, err := t.op.Linode()
	if err == nil {
		_, err = client.Instance(ctx, id)
		t.gone = errors.Is(err, linode.ErrNotFound)
	}
	if errors.Is(err, linode.ErrUnauthorized) || client == nil {
		return diagnose.Linode("Delete Linode", linodePath(), err)
	}
	return nil
}
