// Package image is the resource atoll_image: a built node image that is uploaded to Linode.
package image

import (
	"context"
	"fmt"
	"time"

	"github.com/hashicorp/terraform-plugin-framework-timeouts/resource/timeouts"
	"github.com/hashicorp/terraform-plugin-framework-validators/int64validator"
	"github.com/hashicorp/terraform-plugin-framework-validators/setvalidator"
	"github.com/hashicorp/terraform-plugin-framework-validators/stringvalidator"
	"github.com/hashicorp/terraform-plugin-framework/resource/schema"
	"github.com/hashicorp/terraform-plugin-framework/resource/schema/booldefault"
	"github.com/hashicorp/terraform-plugin-framework/resource/schema/int64default"
	"github.com/hashicorp/terraform-plugin-framework/schema/validator"
	"github.com/hashicorp/terraform-plugin-framework/types"

	"github.com/atollhq/terraform-provider-atoll/internal/cloud/linode"
	"github.com/atollhq/terraform-provider-atoll/internal/nodeimage"
)

// ResourceType is the resource's name in configurations.
const ResourceType = "atoll_image"

// Default timeouts. An upload over a slow line takes its time.
const (
	createTimeout = time.Hour
	updateTimeout = time.Hour
	deleteTimeout = 5 * time.Minute
)

const (
	keepDefault = 1
	// keepMost is below the 25 images that an account may have by default.
	keepMost = 20
)

// Schema returns the resource's schema.
func Schema(ctx context.Context) schema.Schema {
	return schema.Schema{
		MarkdownDescription: "A node image at Linode, uploaded from the files that `make image` builds. `atoll_node` makes machines of it " +
			"(`linode = { image = atoll_image.node.id, … }`).\n\n" +
			"The image is known by its content: the plan hashes the file, and only content that the account does not have yet is uploaded. " +
			"Two resources or states with the same content share one image, which goes when the last of them does. " +
			"New content is uploaded beside the old image, which then stays or goes as `keep_previous` says; machines that exist are not touched.",
		Attributes: map[string]schema.Attribute{
			"id": schema.StringAttribute{Computed: true, MarkdownDescription: "Linode's id of the image, `private/N`. New content has a new one."},
			"source": schema.StringAttribute{
				Required: true, Validators: []validator.String{stringvalidator.LengthAtLeast(1)},
				MarkdownDescription: "Path of an image's manifest (`….manifest.json`, beside the image's files), or of the file to upload itself: " +
					"one unpartitioned ext4 file system compressed by gzip (`….linode.img.gz`). Only a manifest says for which architecture and which " +
					"version of Atoll the image is, so that one which does not fit is refused at plan time. " +
					"Where the file is not, for example in another checkout, an image that exists already is kept as it is.",
			},
			"region": schema.StringAttribute{
				Required:            true,
				MarkdownDescription: "Region that the image is uploaded to and kept in: a core region with Object Storage. Instances of other regions can be made of it too.",
			},
			"replicas": schema.SetAttribute{
				Optional: true, ElementType: types.StringType, Validators: []validator.Set{setvalidator.SizeAtLeast(1)},
				MarkdownDescription: "Further regions that keep a copy: machines there are made faster, and the loss of one region does not take the image. Linode bills each copy.",
			},
			"label": schema.StringAttribute{
				Optional: true, Computed: true, Validators: []validator.String{stringvalidator.LengthBetween(1, linode.MaxImageLabel)},
				MarkdownDescription: "Label of the image. Default `atoll-node-VERSION`, or the file's name.",
			},
			"description": schema.StringAttribute{
				Optional: true, Computed: true, Validators: []validator.String{stringvalidator.LengthBetween(1, linode.MaxImageDescription)},
				MarkdownDescription: "Description of the image. Default: what is in it.",
			},
			"tags": schema.SetAttribute{
				Optional: true, ElementType: types.StringType,
				Validators: []validator.Set{setvalidator.SizeAtLeast(1), setvalidator.ValueStringsAre(
					stringvalidator.LengthBetween(linode.MinImageTag, linode.MaxImageTag), notReserved{},
				)},
				MarkdownDescription: fmt.Sprintf("Tags of the image, beside those (`%s…`) by which Atoll knows its content, its version and who needs it.", nodeimage.TagPrefix),
			},
			"keep_previous": schema.Int64Attribute{
				Optional: true, Computed: true, Default: int64default.StaticInt64(keepDefault),
				Validators: []validator.Int64{int64validator.Between(0, keepMost)},
				MarkdownDescription: fmt.Sprintf("How many images with earlier content stay at Linode when new content is uploaded, from 0 to %d. "+
					"Going back to one of them needs no upload. Default %d.", keepMost, keepDefault),
			},
			"retain_on_destroy": schema.BoolAttribute{
				Optional: true, Computed: true, Default: booldefault.StaticBool(false),
				MarkdownDescription: "Whether the images stay at Linode when the resource is destroyed. A later `atoll_image` with the same content finds them again. Default false.",
			},
			"sha256": schema.StringAttribute{Computed: true, MarkdownDescription: "SHA-256 of the uploaded file, in hex."},
			"size": schema.Int64Attribute{
				Computed: true, MarkdownDescription: "Size of one copy in MiB, uncompressed: what Linode bills.",
			},
			"status": schema.StringAttribute{
				Computed: true, MarkdownDescription: "Linode's status of the image, `available` when machines can be made of it; `gone` when somebody deleted it.",
			},
			"version":      schema.StringAttribute{Computed: true, MarkdownDescription: "Atoll's version in the image; null when `source` is not a manifest."},
			"architecture": schema.StringAttribute{Computed: true, MarkdownDescription: "Architecture of the image, for example `amd64`; null when `source` is not a manifest."},
			"wire": schema.Int64Attribute{
				Computed: true, MarkdownDescription: "Version of the wire form that the image's agent speaks; null when `source` is not a manifest.",
			},
			"regions": schema.MapAttribute{
				Computed: true, ElementType: types.StringType,
				MarkdownDescription: "Status of each copy by region, for example `available`.",
			},
			"previous": schema.ListAttribute{
				Computed: true, ElementType: types.StringType,
				MarkdownDescription: "Ids of the images with earlier content that are kept, the latest first.",
			},
			"timeouts": timeouts.Attributes(ctx, timeouts.Opts{
				Create: true, Update: true, Delete: true,
				CreateDescription: "How long upload, processing and copies may take together. Default 1h.",
				UpdateDescription: "How long upload, processing and copies of new content may take together. Default 1h.",
				DeleteDescription: "How long removing the images may take. Default 5m.",
			}),
		},
	}
}

// notReserved refuses tags that look like Atoll's own.
type notReserved struct{}

// Description says what is refused.
func (notReserved) Description(context.Context) string {
	return "must not begin with " + nodeimage.TagPrefix
}

// MarkdownDescription says what is refused.
func (v notReserved) MarkdownDescription(ctx context.Context) string { return v.Description(ctx) }

// ValidateString reports a reserved tag.
func (notReserved) ValidateString(_ context.Context, req validator.StringRequest, resp *validator.StringResponse) {
	if reserved(req.ConfigValue.ValueString()) {
		resp.Diagnostics.AddAttributeError(req.Path, invalid, fmt.Sprintf("Tags that begin with %s are Atoll's own.\n\nChoose another tag.", nodeimage.TagPrefix))
	}
}
