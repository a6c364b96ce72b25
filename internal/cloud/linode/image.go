package linode

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/linode/linodego"

	"github.com/atollhq/terraform-provider-atoll/internal/cloud/rest"
)

// Linode's limits for images that are uploaded, from its guide "Upload an image" and the API's document. It counts in
// units of 1,024.
const (
	// MaxImageUpload is the largest file that is taken, in bytes, compressed as it is.
	MaxImageUpload = 5 << 30
	// MaxImageSize is the largest image, in bytes, uncompressed.
	MaxImageSize = 6 << 30
	// MaxImageLabel is the longest label in characters.
	MaxImageLabel = 50
	// MaxImageDescription is the longest description in characters.
	MaxImageDescription = 65000
	// MinImageTag and MaxImageTag bound the length of a tag in characters.
	MinImageTag = 3
	MaxImageTag = 100
)

// ImageArchitecture is the architecture of every instance, in Debian's words.
const ImageArchitecture = "amd64"

// ImageStatus is what an image is.
type ImageStatus string

// The statuses of an image.
const (
	// ImagePending is an image whose content has not come yet.
	ImagePending ImageStatus = "pending_upload"
	// ImageCreating is an image whose content is being made ready.
	ImageCreating ImageStatus = "creating"
	// ImageAvailable is an image that instances can be made of.
	ImageAvailable ImageStatus = "available"
)

// regionAvailable is the status of a copy that is there, regionLeaving that of one that is about to go.
const (
	regionAvailable = string(linodego.ImageRegionStatusAvailable)
	regionLeaving   = string(linodego.ImageRegionStatusPendingDeletion)
)

// Image is what this package reads of an image.
type Image struct {
	// ID is "private/N" for an image of the account's own.
	ID          string
	Label       string
	Description string
	Tags        []string
	Status      ImageStatus
	// Size is that of one copy, TotalSize that of all, in MiB, uncompressed.
	Size, TotalSize int
	// Regions says for each region that has or will have a copy what that copy is, for example "available".
	Regions map[string]string
	Public  bool
	Created time.Time
}

// In tells whether a copy is there or on its way in region.
func (i Image) In(region string) bool {
	status, ok := i.Regions[region]
	return ok && status != regionLeaving
}

// number is the N of "private/N". It grows with each image of the account.
func (i Image) number() int {
	n, err := strconv.Atoi(strings.TrimPrefix(i.ID, "private/"))
	if err != nil {
		return 0
	}
	return n
}

// ImageError is an image that Linode could not make of what was uploaded. Linode removes such images and leaves an event.
type ImageError struct {
	ID string
	// Message is Linode's, empty when it gave none.
	Message string
}

// Error says which image it was and what Linode says.
func (e *ImageError) Error() string {
	if e.Message == "" {
		return fmt.Sprintf("image %s is gone before it was available, and Linode does not say why", e.ID)
	}
	return fmt.Sprintf("Linode could not make image %s of the uploaded file: %s", e.ID, e.Message)
}

// Image returns the image with id. ErrNotFound when it does not exist.
func (c *Client) Image(ctx context.Context, id string) (Image, error) {
	image, err := call(ctx, "read image "+id, func(ctx context.Context) (*linodego.Image, error) { return c.api.GetImage(ctx, id) })
	if err != nil {
		return Image{}, err
	}
	return imageFromAPI(image), nil
}

// TaggedImages returns the account's images with a tag, the oldest first.
func (c *Client) TaggedImages(ctx context.Context, tag string) ([]Image, error) {
	filter, err := json.Marshal(map[string]string{"tags": tag})
	if err != nil {
		return nil, fmt.Errorf("look for images: %w", err)
	}
	list, err := call(ctx, "look for images with the tag "+tag, func(ctx context.Context) ([]linodego.Image, error) {
		return c.api.ListImages(ctx, linodego.NewListOptions(0, string(filter)))
	})
	if err != nil {
		return nil, err
	}
	var out []Image
	for n := range list {
		if slices.Contains(list[n].Tags, tag) && !list[n].IsPublic {
			out = append(out, imageFromAPI(&list[n]))
		}
	}
	slices.SortFunc(out, func(a, b Image) int { return a.number() - b.number() })
	return out, nil
}

// ImageChange is what UpdateImage sets. What is nil stays.
type ImageChange struct {
	Label, Description *string
	// Tags replace all tags that there are.
	Tags []string
}

// UpdateImage changes label, description and tags.
func (c *Client) UpdateImage(ctx context.Context, id string, change ImageChange) (Image, error) {
	opts := linodego.ImageUpdateOptions{Description: change.Description}
	if change.Label != nil {
		opts.Label = *change.Label
	}
	if change.Tags != nil {
		opts.Tags = &change.Tags
	}
	image, err := call(ctx, "update image "+id, func(ctx context.Context) (*linodego.Image, error) {
		return c.api.UpdateImage(ctx, id, opts)
	})
	if err != nil {
		return Image{}, err
	}
	return imageFromAPI(image), nil
}

// DeleteImage deletes the image with id. That it does not exist is no error. Instances made of it stay.
func (c *Client) DeleteImage(ctx context.Context, id string) error {
	_, err := call(ctx, "delete image "+id, func(ctx context.Context) (struct{}, error) {
		return struct{}{}, c.api.DeleteImage(ctx, id)
	})
	if failure, ok := asError(err); ok && errors.Is(failure.Kind, ErrNotFound) {
		return nil
	}
	return err
}

// PlaceImage brings an available image into exactly the given regions, and returns it once a copy is in each. What is
// there already is not copied again; a region that is not given loses its copy only when the others have theirs. Progress
// may be nil.
func (c *Client) PlaceImage(ctx context.Context, id string, regions []string, progress func(Progress)) (Image, error) {
	image, err := c.Image(ctx, id)
	if err != nil {
		return Image{}, err
	}
	all := slices.Clone(regions)
	for region := range image.Regions {
		if image.In(region) && !slices.Contains(all, region) {
			all = append(all, region)
		}
	}
	slices.Sort(all)
	if !image.placed(all) {
		if image, err = c.replicate(ctx, id, all, regions, progress); err != nil {
			return image, err
		}
	}
	if len(all) > len(regions) {
		return c.replicate(ctx, id, regions, regions, progress)
	}
	return image, nil
}

// AddImageRegions is PlaceImage that takes the image out of no region.
func (c *Client) AddImageRegions(ctx context.Context, id string, regions []string, progress func(Progress)) (Image, error) {
	image, err := c.Image(ctx, id)
	if err != nil {
		return Image{}, err
	}
	all := slices.Clone(regions)
	for region := range image.Regions {
		if image.In(region) && !slices.Contains(all, region) {
			all = append(all, region)
		}
	}
	return c.PlaceImage(ctx, id, all, progress)
}

// placed tells whether a copy is there in each region.
func (i Image) placed(regions []string) bool {
	return !slices.ContainsFunc(regions, func(region string) bool { return i.Regions[region] != regionAvailable })
}

func (c *Client) replicate(ctx context.Context, id string, to, await []string, progress func(Progress)) (Image, error) {
	op := fmt.Sprintf("copy image %s to %s", id, strings.Join(to, ", "))
	asked, err := call(ctx, op, func(ctx context.Context) (*linodego.Image, error) {
		return c.api.ReplicateImage(ctx, id, linodego.ImageReplicateOptions{Regions: to})
	})
	if err != nil && !errors.Is(err, ErrUnreachable) && !errors.Is(err, ErrUnavailable) {
		return Image{}, err
	}
	image := Image{ID: id}
	if err == nil {
		image = imageFromAPI(asked)
	}
	repeated := false
	for {
		if image.placed(await) {
			return image, nil
		}
		if progress != nil {
			progress(Progress{Image: id, Phase: PhaseReplicating, Regions: image.Regions})
		}
		if err := rest.Sleep(ctx, c.poll); err != nil {
			return image, fmt.Errorf("wait for the copies of image %s in %s: %w", id, strings.Join(await, ", "), err)
		}
		seen, err := c.Image(ctx, id)
		if err != nil {
			return image, err
		}
		image = seen
		for _, region := range await {
			if image.In(region) {
				continue
			}
			// The answer may have been lost before anything was done, or Linode has given up on this copy.
			if repeated {
				return image, &Error{Op: op, Kind: ErrUnavailable, Reasons: []Reason{{
					Field: "regions", Reason: fmt.Sprintf("Linode could not make the copy in %s; apply again, or leave that region out", region),
				}}}
			}
			repeated = true
			if _, err := call(ctx, op, func(ctx context.Context) (*linodego.Image, error) {
				return c.api.ReplicateImage(ctx, id, linodego.ImageReplicateOptions{Regions: to})
			}); err != nil {
				return image, err
			}
			break
		}
	}
}

// imageFromAPI is the one place where linodego's image becomes ours.
func imageFromAPI(in *linodego.Image) Image {
	out := Image{
		ID: in.ID, Label: in.Label, Description: in.Description, Tags: in.Tags, Status: ImageStatus(in.Status),
		Size: in.Size, TotalSize: in.TotalSize, Public: in.IsPublic, Regions: map[string]string{},
	}
	for _, r := range in.Regions {
		out.Regions[r.Region] = string(r.Status)
	}
	if in.Created != nil {
		out.Created = *in.Created
	}
	return out
}
