package linode

import (
	"encoding/json"
	"errors"
	"fmt"
	"maps"
	"slices"
)

// stateVersion is raised when older servers could not read the snapshot.
const stateVersion = 1

// state is everything that outlives the process.
type state struct {
	Version     int               `json:"version"`
	LastID      int               `json:"last_id"`
	Made        int               `json:"made"` // instances ever made, for addresses in memory
	Instances   map[int]*instance `json:"instances"`
	Events      []*event          `json:"events"`
	Images      []Image           `json:"images"`
	Firewalls   []*firewall       `json:"firewalls"`
	Attachments []attachment      `json:"attachments"`
	// Uploads are the images that wait for their content, Contents what came, both by the image's ID.
	Uploads  map[string]*upload `json:"uploads,omitempty"`
	Contents map[string]Content `json:"contents,omitempty"`
}

func newState(images []Image) state {
	return state{
		Version: stateVersion, LastID: 90_000_000, Instances: map[int]*instance{}, Images: slices.Clone(images),
		Uploads: map[string]*upload{}, Contents: map[string]Content{},
	}
}

func (s *state) nextID() int {
	s.LastID++
	return s.LastID
}

// sorted returns the instances by ID.
func (s *state) sorted() []*instance {
	list := make([]*instance, 0, len(s.Instances))
	for _, id := range slices.Sorted(maps.Keys(s.Instances)) {
		list = append(list, s.Instances[id])
	}
	return list
}

// Snapshot returns the account as JSON for Restore. It holds the instances' user data, which is secret.
func (s *Server) Snapshot() ([]byte, error) {
	s.start()
	s.mu.Lock()
	defer s.mu.Unlock()
	data, err := json.Marshal(s.state)
	if err != nil {
		return nil, fmt.Errorf("snapshot account: %w", err)
	}
	return data, nil
}

// Restore replaces the account by a snapshot, except for the images in the server's Images, which are
// as they are now. Jobs that were unfinished begin again. Call it before the first request.
func (s *Server) Restore(data []byte) error {
	s.start()
	restored := newState(nil)
	if err := json.Unmarshal(data, &restored); err != nil {
		return fmt.Errorf("restore account: %w", err)
	}
	if restored.Version != stateVersion {
		return fmt.Errorf("restore account: snapshot has version %d, this program knows %d", restored.Version, stateVersion)
	}
	for _, image := range s.Images {
		restored.Images = slices.DeleteFunc(restored.Images, func(i Image) bool { return i.ID == image.ID })
	}
	restored.Images = append(slices.Clone(s.Images), restored.Images...)
	if restored.Uploads == nil {
		restored.Uploads = map[string]*upload{}
	}
	if restored.Contents == nil {
		restored.Contents = map[string]Content{}
	}
	if restored.Instances == nil {
		restored.Instances = map[int]*instance{}
	}

	s.mu.Lock()
	defer s.mu.Unlock()
	if len(s.jobs) > 0 {
		return errors.New("restore account: the server is at work already")
	}
	s.state = restored
	for _, e := range s.state.Events {
		if (e.Status == eventScheduled || e.Status == eventStarted) && !s.isUpload(e.ID) {
			s.abandon(e, errors.New("the lab was restarted"))
		}
	}
	for _, i := range s.state.sorted() {
		s.resume(i)
	}
	for _, image := range slices.Clone(s.state.Images) {
		s.resumeImage(image.ID)
	}
	return nil
}

// resumeImage finds an image's content again and goes on with what was being done to it. The caller holds the lock.
func (s *Server) resumeImage(id string) {
	image := s.image(id)
	if content, ok := s.state.Contents[id]; ok {
		image.File = s.contents.find(content.Name)
	}
	switch {
	case image.Status == imageCreating && image.File == "":
		s.dropImage(id, "the lab was restarted")
	case image.Status == imageCreating:
		s.process(id, nil)
	case slices.ContainsFunc(image.Regions, func(r ImageRegion) bool { return r.Status != copyAvailable }):
		s.replicate(id, nil)
	}
}

// resume begins again what an instance was in the middle of. The caller holds the lock.
func (s *Server) resume(i *instance) {
	switch i.View.Status {
	case statusProvisioning, statusRebuilding:
		i.makeDisksReady()
		i.View.Status = statusOffline
		if i.Booted {
			s.boot(i, nil)
		}
	case statusBooting, statusRebooting:
		s.boot(i, nil)
	case statusShuttingDown:
		s.shutdown(i, nil)
	case statusDeleting:
		s.remove(i, nil)
	case statusRunning, statusOffline:
		i.makeDisksReady()
	}
}
