package linode

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"slices"
	"strings"

	"github.com/atollhq/terraform-provider-atoll/internal/cloud/rest"
)

// HolderTag is what the tags begin with that say who needs an image. Several may need one.
const HolderTag = "atoll-holder:"

// Holders returns the tags of those who need the image.
func (i Image) Holders() []string {
	var out []string
	for _, tag := range i.Tags {
		if strings.HasPrefix(tag, HolderTag) {
			out = append(out, tag)
		}
	}
	return out
}

// HoldImage puts a holder's tag on an image and takes the signs of its upload off. ErrNotFound when it is gone.
func (c *Client) HoldImage(ctx context.Context, id, holder string) (Image, error) {
	return c.retag(ctx, id, func(tags []string) []string {
		tags = slices.DeleteFunc(tags, func(tag string) bool { return strings.HasPrefix(tag, uploadTag) })
		if !slices.Contains(tags, holder) {
			tags = append(tags, holder)
		}
		return tags
	})
}

// ReleaseImage takes a holder's tag off an image, and deletes it when nobody else holds it, unless it is to stay. It returns
// the holders that are left. An image that is gone is no error.
func (c *Client) ReleaseImage(ctx context.Context, id, holder string, keep bool) (others []string, err error) {
	image, err := c.Image(ctx, id)
	if err == nil {
		others = without(image.Holders(), holder)
		if len(others) == 0 && !keep {
			return nil, c.DeleteImage(ctx, id)
		}
		image, err = c.retag(ctx, id, func(tags []string) []string { return without(tags, holder) })
		others = without(image.Holders(), holder)
		if err == nil && len(others) == 0 && !keep {
			// The others have let go of it at the same time.
			err = c.DeleteImage(ctx, id)
		}
	}
	if errors.Is(err, ErrNotFound) {
		return nil, nil
	}
	return others, err
}

// Retag replaces the tags of an image by those given and keeps every holder's.
func (c *Client) Retag(ctx context.Context, id string, tags []string) (Image, error) {
	return c.retag(ctx, id, func(now []string) []string {
		return append(slices.Clone(tags), Image{Tags: now}.Holders()...)
	})
}

// retag changes an image's tags. Linode replaces them as a whole and takes no condition, so that of two who change them at
// once one loses. Who changes them looks again when everybody has done what they had looked at the tags for, and at
// different times, since those who all lost would all try again at once.
func (c *Client) retag(ctx context.Context, id string, change func([]string) []string) (Image, error) {
	image, err := c.Image(ctx, id)
	for n := 1; ; n++ {
		if err != nil {
			return image, err
		}
		tags := change(slices.Clone(image.Tags))
		if sameTags(tags, image.Tags) {
			return image, nil
		}
		if n > tries {
			return image, &Error{Op: "update image " + id, Kind: ErrConflict, Reasons: []Reason{{
				Field: "tags", Reason: fmt.Sprintf("somebody else changes the tags of image %s all the time", id),
			}}}
		}
		if _, err = c.UpdateImage(ctx, id, ImageChange{Tags: tags}); err != nil {
			return image, err
		}
		if err := rest.Sleep(ctx, c.settle+rand.N(c.settle)); err != nil {
			return image, err
		}
		image, err = c.Image(ctx, id)
	}
}

func without(all []string, one string) []string {
	return slices.DeleteFunc(slices.Clone(all), func(s string) bool { return s == one })
}
