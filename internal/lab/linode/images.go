package linode

import (
	"strings"
	"time"
)

// Image is an image as the API shows it. In a server's Images only ID and Label must be set.
type Image struct {
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

const imageAvailable = "available"

// DefaultImages returns the images of a server that has no others: one of the account's own, with
// ID "private/1" and label "atoll-node", and the vendor's Debian.
func DefaultImages() []Image {
	return []Image{
		{ID: "private/1", Label: "atoll-node", Description: "Atoll node", Size: 2048, Capabilities: []string{"cloud-init", "distributed-sites"}},
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
	return []route{
		{"GET /images", "*", limitListImages, s.listImages},
		{"GET /images/{id}", "images:read_only", limitOther, s.getImage},
	}
}

func (s *Server) listImages(c *call) (any, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	return page(c.Request, s.state.Images, "created_by", "deprecated", "description", "id", "is_public", "label", "size", "status", "type", "vendor", "tags")
}

func (s *Server) getImage(c *call) (any, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	for _, image := range s.state.Images {
		if image.ID == c.PathValue("id") {
			return image, nil
		}
	}
	return nil, notFound()
}

func (s *Server) imageEntity(id string) *entity {
	e := &entity{ID: id, Type: "image", Label: id, URL: "/v4/images/" + id}
	for _, image := range s.state.Images {
		if image.ID == id {
			e.Label = image.Label
		}
	}
	return e
}
