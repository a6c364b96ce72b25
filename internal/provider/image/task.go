package image

import (
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"strings"
	"sync"
	"time"

	"github.com/hashicorp/terraform-plugin-framework/diag"
	"github.com/hashicorp/terraform-plugin-framework/path"
	"github.com/hashicorp/terraform-plugin-framework/types"
	"github.com/hashicorp/terraform-plugin-log/tflog"

	"github.com/atollhq/terraform-provider-atoll/internal/cloud/linode"
	"github.com/atollhq/terraform-provider-atoll/internal/nodeimage"
	"github.com/atollhq/terraform-provider-atoll/internal/provider/diagnose"
)

// task is one operation on one image.
type task struct {
	client *linode.Client
	model  *Model
	memory memory
}

func (r *Resource) begin(_ context.Context, m *Model, mem memory) (*task, diag.Diagnostics) {
	client, err := r.op.Linode()
	if err != nil {
		return nil, linodeDiagnostics("Linode", err)
	}
	if mem.Holder == "" {
		mem.Holder = linode.HolderTag + strings.ToLower(rand.Text()[:16])
	}
	return &task{client: client, model: m, memory: mem}, nil
}

// shared tells whether somebody else needs the image too.
func (t *task) shared(image linode.Image) bool {
	for _, holder := range image.Holders() {
		if holder != t.memory.Holder {
			return true
		}
	}
	return false
}

// upload brings the planned content to Linode and into all its regions. It leaves the model complete but for Previous.
func (t *task) upload(ctx context.Context, operation string, timeout time.Duration) diag.Diagnostics {
	const failed = "Upload image"
	source, err := nodeimage.Open(ctx, t.model.Source.ValueString(), nodeimage.KindLinode)
	if err != nil {
		return diag.Diagnostics{sourceDiagnostic(err)}
	}
	if known(t.model.SHA256) && t.model.SHA256.ValueString() != source.SHA256 {
		return diag.Diagnostics{diag.NewAttributeErrorDiagnostic(sourcePath(), "Image file has changed", fmt.Sprintf(
			"%s is not what it was when the plan was made: its SHA-256 was %s and is %s. Nothing was uploaded.\n\nPlan again.",
			source.Path, t.model.SHA256.ValueString(), source.SHA256))}
	}
	diags := checkSource(source)
	if source.UncompressedSize == 0 && !diags.HasError() {
		inside, err := nodeimage.SumContent(ctx, source.Path, nodeimage.KindLinode)
		if err == nil {
			err = checkSize(source.Path, inside.Size)
		}
		if err != nil {
			diags.Append(sourceDiagnostic(err))
		}
	}
	tags, more := stringsOf(ctx, t.model.Tags)
	diags.Append(more...)
	if diags.HasError() {
		return diags
	}
	t.model.setContent(source)
	if !known(t.model.Label) {
		t.model.Label = types.StringValue(defaultLabel(source))
	}
	if !known(t.model.Description) {
		t.model.Description = types.StringValue(defaultDescription(source))
	}
	if source.Facts != nil {
		tags = append(tags, source.Facts.Tags()...)
	}
	progress := t.progress(ctx)
	image, made, err := t.client.EnsureImage(ctx, linode.Upload{
		Path: source.Path, SHA256: source.SHA256, Size: source.Size,
		Region: t.model.Region.ValueString(), Label: t.model.Label.ValueString(), Description: t.model.Description.ValueString(),
		Mark: nodeimage.ContentTag(source.SHA256), Tags: tags, Holder: t.memory.Holder, Progress: progress,
	})
	if err != nil {
		return append(diags, t.uploadDiagnostics(ctx, failed, operation, timeout, err)...)
	}
	tflog.Info(ctx, "image is there", map[string]any{"image": image.ID, "uploaded": made, "sha256": source.SHA256})
	t.model.setImage(image)
	if !made {
		if diags.Append(t.describe(ctx, image)...); diags.HasError() {
			return diags
		}
	}
	return append(diags, t.place(ctx, image, operation, timeout)...)
}

// describe gives an image that was found label, description and tags of the model, unless it is somebody else's too.
func (t *task) describe(ctx context.Context, image linode.Image) diag.Diagnostics {
	if t.shared(image) {
		return nil
	}
	label, description := t.model.Label.ValueString(), t.model.Description.ValueString()
	if image.Label != label || image.Description != description {
		if _, err := t.client.UpdateImage(ctx, image.ID, linode.ImageChange{Label: &label, Description: &description}); err != nil {
			return linodeDiagnostics("Update image", err)
		}
	}
	tags, diags := stringsOf(ctx, t.model.Tags)
	for _, tag := range image.Tags {
		if reserved(tag) && !strings.HasPrefix(tag, linode.HolderTag) {
			tags = append(tags, tag)
		}
	}
	if _, err := t.client.Retag(ctx, image.ID, tags); err != nil {
		diags.Append(linodeDiagnostics("Update image", err)...)
	}
	return diags
}

// place brings the image into its regions. Where somebody else needs it too it is taken out of none.
func (t *task) place(ctx context.Context, image linode.Image, operation string, timeout time.Duration) diag.Diagnostics {
	regions, diags := t.model.places(ctx)
	into := t.client.PlaceImage
	if t.shared(image) {
		into = t.client.AddImageRegions
	}
	placed, err := into(ctx, image.ID, regions, t.progress(ctx))
	if err != nil {
		return append(diags, t.uploadDiagnostics(ctx, "Copy image to its regions", operation, timeout, err)...)
	}
	t.model.setImage(placed)
	return diags
}

// amend changes what describes an image whose content stays.
func (t *task) amend(ctx context.Context, state Model, timeout time.Duration) diag.Diagnostics {
	image, err := t.client.HoldImage(ctx, t.model.ID.ValueString(), t.memory.Holder)
	if err != nil {
		return linodeDiagnostics("Update image", err)
	}
	diags := t.describe(ctx, image)
	if diags.HasError() || t.model.Region.Equal(state.Region) && t.model.Replicas.Equal(state.Replicas) {
		return diags
	}
	return append(diags, t.place(ctx, image, "update", timeout)...)
}

// trim keeps the latest of the earlier images and releases the others. What cannot be released stays in the list.
func (t *task) trim(ctx context.Context, previous []string, keep int) (kept []string, diags diag.Diagnostics) {
	for n, id := range previous {
		if n >= keep {
			failed := t.release(ctx, id, false)
			for _, d := range failed {
				// The new image is up; that an old one could not be removed is no reason to call that a failure.
				diags.AddWarning("Old image stays", d.Detail())
			}
			if !failed.HasError() {
				continue
			}
		}
		kept = append(kept, id)
	}
	return kept, diags
}

// release gives an image up. It is deleted when nobody else needs it, unless it is to stay.
func (t *task) release(ctx context.Context, id string, keep bool) diag.Diagnostics {
	others, err := t.client.ReleaseImage(ctx, id, t.memory.Holder, keep)
	if err != nil {
		return linodeDiagnostics("Remove image", err)
	}
	var diags diag.Diagnostics
	if len(others) > 0 {
		diags.AddWarning("Image stays", fmt.Sprintf("Image %s stays at Linode: %d other atoll_image resource(s) have the same content and need it (%s). "+
			"If there are none any more, because their state was lost, delete the image by hand.", id, len(others), strings.Join(others, ", ")))
	}
	return diags
}

// letGo gives the image up that a failed creation has found or made. It stays, for the next try.
func (t *task) letGo(ctx context.Context) diag.Diagnostics {
	if !known(t.model.ID) {
		return nil
	}
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), 15*time.Second)
	defer cancel()
	var diags diag.Diagnostics
	id := t.model.ID.ValueString()
	diags.AddWarning("Image stays", fmt.Sprintf("Image %s is at Linode and not in state. The next apply finds it by its content and goes on with it.", id))
	if _, err := t.client.ReleaseImage(ctx, id, t.memory.Holder, true); err != nil {
		diags.AddWarning("Image stays", fmt.Sprintf("Image %s keeps the tag %s, because of which no atoll_image will delete it: %v.", id, t.memory.Holder, err))
	}
	return diags
}

// progressEvery is how often progress is logged while only a number changes.
const progressEvery = 10 * time.Second

// progress logs what is being done: each phase and try, and in between every twentieth part or ten seconds.
func (t *task) progress(ctx context.Context) func(linode.Progress) {
	var (
		mu   sync.Mutex
		last linode.Progress
		at   time.Time
	)
	return func(p linode.Progress) {
		mu.Lock()
		defer mu.Unlock()
		part := int64(0)
		if p.Total > 0 {
			part = (p.Sent - last.Sent) * 20 / p.Total
		}
		same := p.Phase == last.Phase && p.Image == last.Image && p.Try == last.Try && p.Note == last.Note
		if same && part == 0 && time.Since(at) < progressEvery {
			return
		}
		last, at = p, time.Now()
		fields := map[string]any{"image": p.Image}
		if p.Phase == linode.PhaseUploading {
			fields["sent"], fields["total"], fields["try"] = megabytes(p.Sent), megabytes(p.Total), p.Try
		}
		if len(p.Regions) > 0 {
			fields["regions"] = p.Regions
		}
		if p.Note != "" {
			fields["note"] = p.Note
		}
		tflog.Info(ctx, "image "+string(p.Phase), fields)
	}
}

func megabytes(n int64) string { return fmt.Sprintf("%.1f MB", float64(n)/1e6) }

// uploadDiagnostics explains why an image did not become available.
func (t *task) uploadDiagnostics(ctx context.Context, summary, operation string, timeout time.Duration, err error) diag.Diagnostics {
	var diags diag.Diagnostics
	var put *linode.UploadError
	var image *linode.ImageError
	var failure *linode.Error
	// A pause that would outlast the deadline ends at once, before the context does.
	late := errors.Is(ctx.Err(), context.DeadlineExceeded) || errors.Is(err, context.DeadlineExceeded) && !errors.As(err, &failure)
	switch {
	case late:
		diags.AddAttributeError(path.Root("timeouts").AtName(operation), summary, fmt.Sprintf(
			"It is not done after %s: %v.\n\nRaise timeouts.%s and apply again; an image that Linode is working on is found again. "+
				"If Linode does not get on with it, delete that image: then the next apply uploads it anew.", timeout, err, operation))
	case errors.Is(ctx.Err(), context.Canceled):
		diags.AddError(summary, fmt.Sprintf("It was interrupted: %v.\n\nApply again; an image that Linode is working on is found again.", err))
	case errors.Is(err, linode.ErrContentChanged):
		diags.AddAttributeError(sourcePath(), "Image file has changed", err.Error()+".\n\nPlan again.")
	case errors.As(err, &put):
		diags.AddAttributeError(sourcePath(), summary, err.Error()+".\n\nNothing is left of it at Linode. Check the way to the storage and apply again.")
	case errors.As(err, &image):
		diags.AddAttributeError(sourcePath(), summary, err.Error()+".\n\nNothing is left of it at Linode. The image must be one unpartitioned ext4 file system, "+
			"compressed by gzip, of at most 6 GB uncompressed.")
	default:
		return linodeDiagnostics(summary, err)
	}
	return diags
}

// linodeDiagnostics puts an error of Linode's API onto the attribute that mends it.
func linodeDiagnostics(summary string, err error) diag.Diagnostics {
	return diagnose.LinodeFields(summary, path.Empty(), map[string]path.Path{
		"region": path.Root("region"), "regions": path.Root("replicas"), "label": path.Root("label"),
		"description": path.Root("description"), "tags": path.Root("tags"),
	}, imageRemedy, err)
}

// imageRemedy is for a refusal that names no field. Linode's reason is in the error already.
func imageRemedy(kind error) string {
	switch {
	case errors.Is(kind, linode.ErrUnauthorized):
		return "\n\nGive the provider a token (linode.token or LINODE_TOKEN) with the scopes images:read_write and events:read_only."
	case errors.Is(kind, linode.ErrInvalid):
		return "\n\nIf it is the account's limit of images or of their size: lower keep_previous, delete images that nobody needs, or ask Linode for a higher one."
	default:
		return ""
	}
}
