package linode

import (
	"net/http"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"time"
)

// Image is an image as the API shows it. In a server's Images only ID and Label must be set.
type Image struct {
	// File is the path of the image's raw, unpartitioned file system; empty for an image without content, of which
	// machines only learn the ID. The API does not show it.
	File string `json:"-"`

	ID           string        `json:"id"`
	Label        string        `json:"label"`
	Description  string        `json:"description"`
	Created      timestamp     `json:"created"`
	Updated      timestamp     `json:"updated"`
	Size         int           `json:"size"` // MiB
	TotalSize    int           `json:"total_size"`
	CreatedBy    string        `json:"created_by"`
	Type         string        `json:"type"`
	Tags         []string      `json:"tags"`
	IsPublic     bool          `json:"is_public"`
	IsShared     bool          `json:"is_shared"`
	Deprecated   bool          `json:"deprecated"`
	Vendor       *string       `json:"vendor"`
	Expiry       *timestamp    `json:"expiry"`
	EOL          *timestamp    `json:"eol"`
	Status       string        `json:"status"`
	Capabilities []string      `json:"capabilities"`
	Regions      []ImageRegion `json:"regions"`
	ImageSharing imageSharing  `json:"image_sharing"`
}

// ImageRegion says whether a region has a copy of an image.
type ImageRegion struct {
	Region string `json:"region"`
	Status string `json:"status"`
}

type imageSharing struct {
	SharedWith sharedWith `json:"shared_with"`
	SharedBy   *struct{}  `json:"shared_by"`
}

type sharedWith struct {
	Count int    `json:"sharegroup_count"`
	URL   string `json:"sharegroup_list_url"`
}

// Statuses of images and of their copies in regions.
const (
	imagePendingUpload = "pending_upload"
	imageCreating      = "creating"
	imageAvailable     = "available"

	copyPending   = "pending replication"
	copyRunning   = "replicating"
	copyAvailable = "available"
	copyGoingAway = "pending deletion"
)

// Capabilities of images.
const (
	supportsConfig = "cloud-init"
	distributable  = "distributed-sites" // every image of the recordings has it once it is available
)

const (
	privatePrefix = "private/"
	mebibyte      = 1 << 20
)

// DefaultImages returns the images of a server that has no others: one of the account's own, with
// ID "private/1" and label "atoll-node", and the vendor's Debian.
func DefaultImages() []Image {
	return []Image{
		{ID: "private/1", Label: "atoll-node", Description: "Atoll node", Size: 2048, Capabilities: []string{supportsConfig, distributable}},
		{ID: "linode/debian13", Label: "Debian 13", Size: 2500, Capabilities: []string{"cloud-init"}},
		{ID: "linode/debian12", Label: "Debian 12", Size: 2400, Capabilities: []string{"cloud-init"}},
	}
}

// complete fills in what every image has.
func (i Image) complete(regions []Region) Image {
	built := timestamp{time.Date(2026, time.January, 2, 3, 4, 5, 0, time.UTC)}
	if i.Created.IsZero() {
		i.Created = built
	}
	if i.Updated.IsZero() {
		i.Updated = i.Created
	}
	if vendor, _, ok := strings.Cut(i.ID, "/"); ok && vendor == "linode" {
		i.IsPublic, i.CreatedBy = true, "linode"
		if i.Vendor == nil {
			name, _, _ := strings.Cut(i.Label, " ")
			i.Vendor = &name
		}
	}
	if i.Type == "" {
		i.Type = "manual"
	}
	if i.CreatedBy == "" {
		i.CreatedBy = username
	}
	if i.Status == "" {
		i.Status = imageAvailable
	}
	if i.Tags == nil {
		i.Tags = []string{}
	}
	if i.Capabilities == nil {
		i.Capabilities = []string{}
	}
	if i.Regions == nil {
		i.Regions = []ImageRegion{}
		if !i.IsPublic && len(regions) > 0 {
			i.Regions = append(i.Regions, ImageRegion{regions[0].ID, imageAvailable})
		}
	}
	if i.TotalSize == 0 {
		i.TotalSize = i.Size * max(len(i.Regions), 1)
	}
	i.ImageSharing.SharedWith.URL = "/images/" + i.ID + "/sharegroups"
	return i
}

func (s *Server) imageRoutes() []route {
	const scope = "images:read_write"
	return []route{
		{"GET /images", "*", limitListImages, s.listImages},
		{"POST /images", "images:read_write,linodes:read_only", limitOther, s.imagizeDisk},
		{"POST /images/upload", scope, limitOther, s.announceUpload},
		{"GET /images/{id}", "images:read_only", limitOther, s.getImage},
		{"PUT /images/{id}", scope, limitOther, s.updateImage},
		{"DELETE /images/{id}", scope, limitOther, s.deleteImage},
		{"POST /images/{id}/regions", scope, limitOther, s.replicateImage},
	}
}

// unescapedImage is the path of an image whose ID has its slash as it is.
var unescapedImage = regexp.MustCompile(`^(/v4(?:beta)?/images/)(private|linode|shared)/([^/]+(?:/regions)?)$`)

// escapeImage lets requests pass that do not escape the slash of an image's ID, as older clients send them and the live API
// takes them.
func escapeImage(r *http.Request) *http.Request {
	part := unescapedImage.FindStringSubmatch(r.URL.EscapedPath())
	if part == nil {
		return r
	}
	r = r.Clone(r.Context())
	r.URL.RawPath = part[1] + part[2] + "%2F" + part[3]
	return r
}

func (s *Server) listImages(c *call) (any, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	return page(c.Request, s.state.Images, "created_by", "deprecated", "description", "id", "is_public", "label", "size", "status", "type", "vendor", "tags")
}

func (s *Server) getImage(c *call) (any, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	image := s.image(c.PathValue("id"))
	if image == nil {
		return nil, notFound()
	}
	return *image, nil
}

// image returns an image of the account or the vendor, or nil. What it returns is good until an image is added or
// removed. The caller holds the lock.
func (s *Server) image(id string) *Image {
	n := slices.IndexFunc(s.state.Images, func(i Image) bool { return i.ID == id })
	if n < 0 {
		return nil
	}
	return &s.state.Images[n]
}

// ownImage returns an image that the request may change. The caller holds the lock.
func (s *Server) ownImage(c *call) (*Image, error) {
	image := s.image(c.PathValue("id"))
	switch {
	case image == nil:
		return nil, notFound()
	case image.IsPublic:
		return nil, fail(http.StatusForbidden, "Unauthorized")
	}
	return image, nil
}

func (s *Server) updateImage(c *call) (any, error) {
	var in struct {
		Label       *string   `json:"label"`
		Description *string   `json:"description"`
		Tags        *[]string `json:"tags"`
	}
	if err := c.decode(&in); err != nil {
		return nil, err
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	image, err := s.ownImage(c)
	if err != nil {
		return nil, err
	}
	var bad problems
	if in.Label != nil {
		checkImageLabel(&bad, *in.Label)
	}
	if in.Description != nil {
		checkDescription(&bad, *in.Description)
	}
	if in.Tags != nil {
		checkImageTags(&bad, *in.Tags)
	}
	if err := bad.err(); err != nil {
		return nil, err
	}
	set(&image.Label, in.Label)
	set(&image.Description, in.Description)
	if in.Tags != nil {
		image.Tags = sortedTags(*in.Tags)
	}
	image.Updated = s.now()
	s.notify("image_update", s.imageEvent(image.ID), nil)
	return *image, nil
}

// deleteImage lets an image vanish at once, with its copies and its content. Instances made of it stay.
func (s *Server) deleteImage(c *call) (any, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	image, err := s.ownImage(c)
	if err != nil {
		return nil, err
	}
	about := s.imageEvent(image.ID)
	s.dropImage(image.ID, "Upload canceled.") // by these words the vendor's Cloud Manager knows it
	s.notify("image_delete", about, nil)
	return nil, nil
}

// dropImage removes an image and ends what was being done to it. The caller holds the lock.
func (s *Server) dropImage(id, why string) {
	s.drop(imageNumber(id))
	for instance, j := range s.jobs {
		if j.image == id {
			s.drop(instance)
		}
	}
	s.endUpload(id, why)
	s.forgetImage(id)
}

// forgetImage removes an image and its content. The caller holds the lock.
func (s *Server) forgetImage(id string) {
	if image := s.image(id); image != nil {
		s.contents.discard(image.File)
	}
	delete(s.state.Contents, id)
	s.state.Images = slices.DeleteFunc(s.state.Images, func(i Image) bool { return i.ID == id })
}

// newImage adds an image of the account. The caller holds the lock.
func (s *Server) newImage(status, label, description string, cloudInit bool, tags []string) *Image {
	image := Image{
		ID: privatePrefix + strconv.Itoa(s.state.nextID()), Label: label, Description: description, Status: status,
		Created: s.now(), Updated: s.now(), Tags: sortedTags(tags), Regions: []ImageRegion{},
	}.complete(s.Regions)
	if cloudInit {
		image.Capabilities = append(image.Capabilities, supportsConfig)
	}
	s.state.Images = append(s.state.Images, image)
	return &s.state.Images[len(s.state.Images)-1]
}

// finishImage makes an image available in a region. The caller holds the lock.
func (s *Server) finishImage(id, region string, size int) {
	image := s.image(id)
	if image == nil {
		return
	}
	image.Status, image.Size, image.Updated = imageAvailable, size, s.now()
	image.Capabilities = append(image.Capabilities, distributable)
	image.Regions = []ImageRegion{{region, copyAvailable}}
	image.total()
}

// total counts the size of all copies that are there.
func (i *Image) total() {
	there := 0
	for _, region := range i.Regions {
		if region.Status == copyAvailable {
			there++
		}
	}
	i.TotalSize = i.Size * max(there, 1)
}

// imageNumber is the number in the ID of an account's own image, 0 in others. It is unique among all objects of the
// account.
func imageNumber(id string) int {
	n, err := strconv.Atoi(strings.TrimPrefix(id, privatePrefix))
	if err != nil {
		return 0
	}
	return n
}

// imageEntity is an image in the events of instances, which show its whole ID.
func (s *Server) imageEntity(id string) *entity {
	e := &entity{ID: id, Type: "image", Label: id, URL: "/v4/images/" + id}
	if image := s.image(id); image != nil {
		e.Label = image.Label
	}
	return e
}

// imageEvent is an image of the account in events about images, which show its number alone, as the vendor's document
// and its Cloud Manager have it.
func (s *Server) imageEvent(id string) *entity {
	e := s.imageEntity(id)
	e.ID = imageNumber(id)
	return e
}

// imageLabel is what the vendor's own client library for its Cloud Manager accepts.
var imageLabel = regexp.MustCompile(`^[a-zA-Z0-9,.?\-_\s']+$`)

func checkImageLabel(bad *problems, label string) {
	switch {
	case label == "" || len(label) > 50:
		bad.add("label", "Length must be 1-50 characters")
	case !imageLabel.MatchString(label):
		bad.add("label", "Image labels cannot contain special characters.")
	}
}

func checkDescription(bad *problems, text string) {
	if len(text) > 65000 {
		bad.add("description", "Length must be 1-65000 characters")
	}
}

func checkImageTags(bad *problems, tags []string) {
	if len(tags) > 500 {
		bad.add("tags", "An image can have at most 500 tags")
	}
	for n, tag := range tags {
		if len(tag) < 3 || len(tag) > 100 {
			bad.add("tags", "tags["+strconv.Itoa(n)+"]: Length must be 3-100 characters")
		}
	}
}
