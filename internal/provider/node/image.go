package node

import (
	"context"
	"errors"
	"fmt"

	"github.com/hashicorp/terraform-plugin-framework/diag"
	"github.com/hashicorp/terraform-plugin-framework/types"

	"github.com/atollhq/terraform-provider-atoll/internal/cloud/linode"
	"github.com/atollhq/terraform-provider-atoll/internal/nodeimage"
)

// checkImage refuses an image that a machine cannot be made of, as far as Linode tells by the tags that atoll_image has put
// on it. An image that is still to be uploaded is its own resource's to check. A machine that exists keeps the image that it
// was made of: a new one under all nodes at once would take the whole cluster.
func (r *Resource) checkImage(ctx context.Context, plan Model, state *Model) diag.Diagnostics {
	l, ok, diags := plan.linode(ctx)
	if r.op == nil || !ok || !known(l.Image) {
		return diags
	}
	at, id := linodePath().AtName("image"), l.Image.ValueString()
	if state != nil {
		was, ok, _ := state.linode(ctx)
		if ok && known(was.Image) && !was.Image.Equal(l.Image) && was.Region.Equal(l.Region) && was.Type.Equal(l.Type) {
			diags.AddAttributeWarning(at, "Image is for the next machine", fmt.Sprintf(
				"The machine of %s exists and stays as it was made. To make it of image %s, replace it by `terraform apply -replace=ADDRESS`: one node at a time, each when the one before is back.", state, id))
		}
		return diags
	}
	client, err := r.op.Linode()
	if err != nil {
		return diags // the apply says so
	}
	ctx, cancel := context.WithTimeout(ctx, r.op.Patience().Dial)
	defer cancel()
	image, err := client.Image(ctx, id)
	if errors.Is(err, linode.ErrNotFound) {
		diags.AddAttributeError(at, invalid, fmt.Sprintf("Image %s does not exist.\n\nTake the id of an atoll_image, or of another image with Atoll's agent in it.", id))
		return diags
	}
	if err != nil {
		return diags // a plan works without Linode; the apply says so
	}
	tagged := nodeimage.ReadTags(image.Tags)
	var misfits []error
	if tagged.Architecture != "" {
		misfits = append(misfits, tagged.CheckArchitecture(linode.ImageArchitecture))
	}
	if tagged.Wire != 0 {
		misfits = append(misfits, tagged.CheckWire())
	}
	for _, err := range misfits {
		if err != nil {
			diags.AddAttributeError(at, invalid, fmt.Sprintf("linode.image %s does not fit: %v.", id, err))
		}
	}
	return diags
}

// imageFromAPI keeps what is configured; Linode tells what the machine was made of, which is another one after a change.
func (l *linodeModel) imageFromAPI(inst linode.Instance) {
	if !known(l.Image) && inst.Image != "" { // empty for an image that was deleted since
		l.Image = types.StringValue(inst.Image)
	}
}
