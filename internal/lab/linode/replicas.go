package linode

import (
	"errors"
	"slices"
)

// replicateImage makes the image be in exactly the regions of the request. At least one of them must have it already.
func (s *Server) replicateImage(c *call) (any, error) {
	var in struct {
		Regions []string `json:"regions"`
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
	if err := s.checkReplicas(image, in.Regions); err != nil {
		return nil, err
	}
	kept := slices.DeleteFunc(slices.Clone(image.Regions), func(r ImageRegion) bool { return r.Status == copyGoingAway })
	image.Regions = nil
	for _, region := range kept {
		if !slices.Contains(in.Regions, region.Region) {
			region.Status = copyGoingAway
		}
		image.Regions = append(image.Regions, region)
	}
	for _, id := range slices.Compact(slices.Sorted(slices.Values(in.Regions))) {
		if !slices.ContainsFunc(image.Regions, func(r ImageRegion) bool { return r.Region == id }) {
			image.Regions = append(image.Regions, ImageRegion{id, copyPending})
		}
	}
	image.Updated = s.now()
	answer := *image
	answer.Regions = slices.Clone(image.Regions)
	s.replicate(image.ID, c.fault)
	return answer, nil
}

func (s *Server) checkReplicas(image *Image, regions []string) error {
	var bad problems
	there := false
	for _, id := range regions {
		if region, ok := s.region(id); !ok || !region.storesImages() {
			bad.add("regions", id+" is not valid: images can be stored in core regions with Object Storage only")
		}
		there = there || slices.Contains(image.Regions, ImageRegion{id, copyAvailable})
	}
	switch {
	case image.Status != imageAvailable:
		bad.add("image", "Image must be available to be replicated")
	case !there:
		bad.add("regions", "At least one region where the image is available is required")
	}
	return bad.err()
}

// storesImages says whether images can be uploaded to a region and replicated to it.
func (r Region) storesImages() bool {
	return r.SiteType == "core" && slices.Contains(r.Capabilities, "Object Storage")
}

// replicate moves the copies of an image to what they are to be, in the place of an earlier such job. The caller holds
// the lock.
func (s *Server) replicate(id string, fault *Fault) {
	s.drop(imageNumber(id))
	if fault != nil && fault.Stuck {
		return
	}
	turn := func(from, to string) func() {
		return func() {
			image := s.image(id)
			if image == nil {
				return
			}
			image.Regions = slices.DeleteFunc(slices.Clone(image.Regions), func(r ImageRegion) bool {
				return r.Status == copyGoingAway
			})
			for n, region := range image.Regions {
				if region.Status == from {
					image.Regions[n].Status = to
				}
			}
			image.total()
			image.Updated = s.now()
		}
	}
	s.begin(&job{
		about: imageNumber(id), image: id,
		steps: []step{{nil, turn(copyPending, copyRunning)}, {nil, turn(copyRunning, copyAvailable)}},
		// A copy that could not be made is not there; the vendor leaves no more trace of it.
		failed: func(err error) {
			if image := s.image(id); image != nil && !errors.Is(err, errReplaced) {
				image.Regions = slices.DeleteFunc(slices.Clone(image.Regions), func(r ImageRegion) bool {
					return r.Status == copyRunning
				})
			}
		},
	}, fault)
}
