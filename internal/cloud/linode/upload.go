package linode

import (
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"slices"
	"strings"
	"sync/atomic"
	"time"

	"github.com/linode/linodego"

	"github.com/atollhq/terraform-provider-atoll/internal/cloud/rest"
)

// Phase is what is being done with an image.
type Phase string

// The phases of an image on its way.
const (
	// PhaseWaiting is while another run uploads the same content.
	PhaseWaiting Phase = "waiting for another run's upload"
	// PhaseUploading is while the content is sent.
	PhaseUploading Phase = "uploading"
	// PhaseProcessing is while Linode makes the image of it.
	PhaseProcessing Phase = "processing"
	// PhaseReplicating is while copies are made in other regions.
	PhaseReplicating Phase = "replicating"
)

// Progress is how far an image has come.
type Progress struct {
	// Image is the image's id.
	Image string
	Phase Phase
	// Sent of Total bytes are there, while uploading. Try counts from 1.
	Sent, Total int64
	Try         int
	// Regions are the copies' statuses, while replicating.
	Regions map[string]string
	// Note is what went wrong in the try before, or what the other run says.
	Note string
}

// Upload describes an image that is to be there.
type Upload struct {
	// Path is a gzip-compressed, unpartitioned file system; SHA256 is the hash of the file as it is, in lower-case hex, and
	// Size its size in bytes. A file that is not so any more is not uploaded (ErrContentChanged).
	Path   string
	SHA256 string
	Size   int64

	Region, Label, Description string
	// Mark is the tag by which an image with this content is known again. It must be made of the content's hash.
	Mark string
	// Tags are put beside it on an image that is made here.
	Tags []string
	// Holder is the tag of whoever needs the image. It is put on an image that is found too: who removes the last holder
	// removes the image.
	Holder string
	// Progress is called about everything that moves, often and from other goroutines, never twice at the same time. It may be nil.
	Progress func(Progress)
}

// uploadTag marks an image whose content somebody is sending. Behind it stand the sender's run, a number that goes up as
// long as that run lives, and the percentage that has been sent.
const uploadTag = "atoll-upload:"

const (
	// freshAddresses is how often another address is asked for, when the storage does not like the first one.
	freshAddresses = 2
	// staleBeats is after how many missing signs of life an upload is taken for abandoned; unseenBeats is for one that
	// never gave any, since Linode may not let a waiting image be changed.
	staleBeats  = 6
	unseenBeats = 40
)

// EnsureImage returns the available image with the content, in Region or another one: the one that is there already, or one
// that it uploads. made tells which. The same content is never uploaded twice: when two runs begin at once one of them
// waits for the other, and an upload that a killed run left is removed. When ctx ends while the content is being sent,
// what was begun is removed.
//
// It fails with *UploadError when the content could not be sent, *ImageError when Linode could not make an image of it.
func (c *Client) EnsureImage(ctx context.Context, in Upload) (image Image, made bool, err error) {
	if in.Size > MaxImageUpload {
		return Image{}, false, &UploadError{Total: in.Size, Err: fmt.Errorf("at most %d bytes are taken by Linode", int64(MaxImageUpload))}
	}
	if in.Progress == nil {
		in.Progress = func(Progress) {}
	}
	u := &uploading{Client: c, Upload: in, run: strings.ToLower(rand.Text()[:12])}
	for {
		there, err := c.TaggedImages(ctx, in.Mark)
		if err != nil {
			return Image{}, false, err
		}
		if len(there) == 0 {
			image, err := u.make(ctx)
			switch {
			case errors.Is(err, errYield):
				continue
			case err != nil:
				return image, false, err
			}
			image, err = c.HoldImage(ctx, image.ID, in.Holder)
			return image, true, err
		}
		image, err := u.adopt(ctx, there)
		if errors.Is(err, errYield) || errors.Is(err, ErrNotFound) {
			continue // it went away while it was waited for
		}
		if err != nil {
			return image, false, err
		}
		image, err = c.HoldImage(ctx, image.ID, in.Holder)
		if errors.Is(err, ErrNotFound) {
			continue
		}
		return image, false, err
	}
}

// errYield sends EnsureImage back to its beginning: what is there has changed.
var errYield = errors.New("look again")

// uploading is one call of EnsureImage.
type uploading struct {
	*Client
	Upload
	run string
	// asked is how often an image was announced.
	asked int
}

// adopt waits until one of the images with the content is available. It yields once it has removed an abandoned one.
func (u *uploading) adopt(ctx context.Context, there []Image) (Image, error) {
	best := there[0]
	for _, image := range there {
		if rank(image) > rank(best) {
			best = image
		}
	}
	if best.Status != ImagePending {
		return u.awaitAvailable(ctx, best.ID)
	}
	sign := senderTag(best)
	since, patience := time.Now(), u.patience(sign)
	for {
		u.Progress(Progress{Image: best.ID, Phase: PhaseWaiting, Note: senderSays(sign)})
		late := rest.Sleep(ctx, u.poll)
		image, err := best, error(nil)
		if late == nil {
			image, err = u.Image(ctx, best.ID)
			late = ctx.Err()
		}
		if late != nil {
			return best, fmt.Errorf("wait for image %s, which another run uploads (%s): %w", best.ID, senderSays(sign), late)
		}
		if err != nil {
			return best, err
		}
		if image.Status != ImagePending {
			return u.awaitAvailable(ctx, image.ID)
		}
		if now := senderTag(image); now != sign {
			sign, since, patience = now, time.Now(), u.patience(now)
		}
		if time.Since(since) > patience {
			u.Progress(Progress{Image: best.ID, Phase: PhaseWaiting, Note: "it was abandoned and is removed"})
			if err := u.DeleteImage(ctx, image.ID); err != nil {
				return image, err
			}
			return image, errYield
		}
	}
}

// rank orders images by how near to being available they are.
func rank(i Image) int {
	switch i.Status {
	case ImageAvailable:
		return 2
	case ImageCreating:
		return 1
	case ImagePending:
	}
	return 0
}

func senderTag(i Image) string {
	for _, tag := range i.Tags {
		if strings.HasPrefix(tag, uploadTag) {
			return tag
		}
	}
	return ""
}

func senderSays(tag string) string {
	parts := strings.Split(strings.TrimPrefix(tag, uploadTag), ":")
	if len(parts) != 3 {
		return "nothing is known of how far it is"
	}
	return parts[2] + " % are sent"
}

// patience is how long a sender may give no sign of life.
func (u *uploading) patience(tag string) time.Duration {
	if parts := strings.Split(tag, ":"); len(parts) == 4 && parts[2] != "0" {
		return staleBeats * u.beat
	}
	return unseenBeats * u.beat
}

func (u *uploading) sign(beat, percent int64) string {
	return fmt.Sprintf("%s%s:%d:%d", uploadTag, u.run, beat, percent)
}

func (u *uploading) tags(sign string) []string {
	tags := append(slices.Clone(u.Tags), u.Mark)
	if sign != "" {
		tags = append(tags, sign)
	}
	return tags
}

// make uploads a new image and waits until it is available. It yields when another run was faster. What it has announced
// and cannot finish it removes.
func (u *uploading) make(ctx context.Context) (image Image, err error) {
	image, address, err := u.announce(ctx)
	if err != nil {
		return Image{}, err
	}
	sent := false
	defer func() {
		if err == nil || sent {
			return
		}
		// The caller's context may be what ended it.
		ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), 15*time.Second)
		defer cancel()
		if failure := u.DeleteImage(ctx, image.ID); failure != nil {
			err = fmt.Errorf("%w; and image %s, which has no content, could not be removed: %w", err, image.ID, failure)
		}
	}()
	there, err := u.TaggedImages(ctx, u.Mark)
	if err != nil {
		return image, err
	}
	// Each run looks after it has announced its image, so of two at least one sees both; the older image stays.
	if slices.ContainsFunc(there, func(other Image) bool { return other.number() < image.number() }) {
		return image, errYield
	}
	if err := u.send(ctx, image.ID, address); err != nil {
		var failure *UploadError
		if errors.As(err, &failure) && failure.addressIsBad() && u.asked <= freshAddresses {
			u.Progress(Progress{Image: image.ID, Phase: PhaseUploading, Total: u.Size, Note: err.Error()})
			return image, errYield
		}
		return image, err
	}
	sent = true
	return u.awaitAvailable(ctx, image.ID)
}

// announce makes an image without content and returns the address that the content goes to, which nobody tells again. An
// image whose answer was lost on its way is of no use and is removed.
func (u *uploading) announce(ctx context.Context) (Image, string, error) {
	u.asked++
	tags := u.tags(u.sign(0, 0))
	opts := linodego.ImageCreateUploadOptions{
		Region: u.Region, Label: u.Label, Description: u.Description, CloudInit: true, Tags: &tags,
	}
	type answer struct {
		image   *linodego.Image
		address string
	}
	for n := 1; ; n++ {
		a, err := call(ctx, "create image "+u.Label, func(ctx context.Context) (answer, error) {
			image, address, err := u.api.CreateImageUpload(ctx, opts)
			if err == nil && (image == nil || address == "") {
				err = errors.New("the answer holds no image or no upload address")
			}
			return answer{image, address}, err
		})
		if err == nil {
			return imageFromAPI(a.image), a.address, nil
		}
		failure, _ := asError(err)
		if failure == nil || !failure.ambiguous() || n == tries {
			return Image{}, "", err
		}
		if rest.Sleep(ctx, u.poll) != nil {
			return Image{}, "", err
		}
		lost, lookErr := u.TaggedImages(ctx, u.sign(0, 0))
		if lookErr != nil {
			return Image{}, "", err
		}
		for _, image := range lost {
			if lookErr := u.DeleteImage(ctx, image.ID); lookErr != nil {
				return Image{}, "", lookErr
			}
		}
	}
}

// send sends the content to the address, again from its beginning when the connection is cut, and gives signs of life in
// the image's tags meanwhile.
func (u *uploading) send(ctx context.Context, id, address string) error {
	var sent atomic.Int64
	alive, stop := context.WithCancel(ctx)
	beating := make(chan struct{})
	go func() {
		defer close(beating)
		u.heartbeat(alive, id, &sent)
	}()
	defer func() {
		stop()
		<-beating
	}()
	pause := u.pause
	for n := 1; ; n++ {
		note := ""
		err := u.put(ctx, address, content{u.Path, u.SHA256, u.Size}, func(now int64) {
			sent.Store(now)
			u.Progress(Progress{Image: id, Phase: PhaseUploading, Sent: now, Total: u.Size, Try: n})
		})
		if err == nil {
			return nil
		}
		var failure *UploadError
		if !errors.As(err, &failure) {
			return err
		}
		failure.Tries = n
		note = err.Error()
		if ctx.Err() != nil {
			return err
		}
		// What was cut may have been the answer alone.
		if image, lookErr := u.Image(ctx, id); errors.Is(lookErr, ErrNotFound) {
			return &ImageError{ID: id, Message: u.whyGone(ctx, id)}
		} else if lookErr == nil && image.Status != ImagePending {
			return nil
		}
		if n == tries || failure.addressIsBad() {
			return err
		}
		u.Progress(Progress{Image: id, Phase: PhaseUploading, Total: u.Size, Try: n + 1, Note: note})
		if rest.Sleep(ctx, max(pause, failure.RetryAfter)) != nil {
			return err
		}
		pause *= 2
	}
}

// heartbeat changes the image's upload tag again and again. That it cannot is no reason to stop the upload.
func (u *uploading) heartbeat(ctx context.Context, id string, sent *atomic.Int64) {
	for n := int64(1); ; n++ {
		percent := int64(0)
		if u.Size > 0 {
			percent = sent.Load() * 100 / u.Size
		}
		_, err := u.UpdateImage(ctx, id, ImageChange{Tags: u.tags(u.sign(n, percent))})
		if err != nil && ctx.Err() == nil {
			u.Progress(Progress{Image: id, Phase: PhaseUploading, Sent: sent.Load(), Total: u.Size, Note: "no sign of life could be given: " + err.Error()})
		}
		if rest.Sleep(ctx, u.beat) != nil {
			return
		}
	}
}

// awaitAvailable waits until Linode has made an image of its content. *ImageError when Linode could not.
func (u *uploading) awaitAvailable(ctx context.Context, id string) (Image, error) {
	last := Image{ID: id}
	for {
		image, err := u.Image(ctx, id)
		switch {
		case errors.Is(err, ErrNotFound):
			return last, &ImageError{ID: id, Message: u.whyGone(ctx, id)}
		case err != nil && ctx.Err() != nil && last.Status != "":
			return last, notAvailable(last, ctx.Err()) // what it was says more than that this read was cut short
		case err != nil:
			return last, err
		case image.Status == ImageAvailable:
			return image, nil
		}
		last = image
		u.Progress(Progress{Image: id, Phase: PhaseProcessing})
		if err := rest.Sleep(ctx, u.poll); err != nil {
			return last, notAvailable(last, err)
		}
	}
}

func notAvailable(image Image, err error) error {
	return fmt.Errorf("wait for image %s to become available, it is %s: %w", image.ID, image.Status, err)
}

// whyGone returns what Linode says of an image that vanished, empty when it says nothing.
func (u *uploading) whyGone(ctx context.Context, id string) string {
	filter := fmt.Sprintf(`{"action":"image_upload","entity.type":"image","entity.id":%d,"+order":"desc","+order_by":"created"}`, Image{ID: id}.number())
	events, err := call(ctx, "list events of image "+id, func(ctx context.Context) ([]linodego.Event, error) {
		return u.api.ListEvents(ctx, linodego.NewListOptions(1, filter))
	})
	if err != nil {
		return ""
	}
	for _, e := range events {
		if e.Status == linodego.EventFailed {
			return e.Message
		}
	}
	return ""
}
