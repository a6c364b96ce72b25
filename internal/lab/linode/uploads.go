package linode

import (
	"crypto/rand"
	"crypto/subtle"
	"errors"
	"fmt"
	"net/http"
	"net/url"
	"strconv"
	"time"
)

// UploadPath is where uploads go, below the address that the request for one was sent to. It is an object storage's and
// not the API's: there is no token in the header, and errors are XML.
const UploadPath = "/linode-production-machine-images-uploads/"

// uploadLife is how long an announced upload may take to come.
const uploadLife = 24 * time.Hour

// upload is what is known of an image that waits for its content.
type upload struct {
	Signature string    `json:"signature"`
	Expires   time.Time `json:"expires"`
	Region    string    `json:"region"`
	Event     int       `json:"event"`
	Received  bool      `json:"received"` // the content is there, the address is used up
}

// announceUpload makes an image without content and says where the content goes.
func (s *Server) announceUpload(c *call) (any, error) {
	var in struct {
		Region      string   `json:"region"`
		Label       string   `json:"label"`
		Description string   `json:"description"`
		CloudInit   bool     `json:"cloud_init"`
		Tags        []string `json:"tags"`
	}
	if err := c.decode(&in); err != nil {
		return nil, err
	}
	var bad problems
	checkImageLabel(&bad, in.Label)
	checkDescription(&bad, in.Description)
	checkImageTags(&bad, in.Tags)
	switch region, ok := s.region(in.Region); {
	case in.Region == "":
		bad.add("region", "region is required")
	case !ok || !region.storesImages():
		bad.add("region", "region is not valid: images can be stored in core regions with Object Storage only")
	}
	if err := bad.err(); err != nil {
		return nil, err
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	if err := s.checkQuota(); err != nil {
		return nil, err
	}
	image := s.newImage(imagePendingUpload, in.Label, in.Description, in.CloudInit, in.Tags)
	u := &upload{
		Signature: rand.Text(), Expires: s.Now().Add(uploadLife).Truncate(time.Second), Region: in.Region,
		Event: s.record("image_upload", s.imageEvent(image.ID), nil).ID,
	}
	s.state.Uploads[image.ID] = u
	return map[string]any{"image": *image, "upload_to": u.address(c.Request, image.ID)}, nil
}

// address is where the content goes, on the server that the client has reached.
func (u *upload) address(r *http.Request, id string) string {
	to := url.URL{Scheme: "http", Host: r.Host, Path: UploadPath + strconv.Itoa(imageNumber(id))}
	if r.TLS != nil {
		to.Scheme = "https"
	}
	to.RawQuery = url.Values{
		"Signature": {u.Signature}, "Expires": {strconv.FormatInt(u.Expires.Unix(), 10)}, "AWSAccessKeyID": {"ATOLLLAB"},
	}.Encode()
	return to.String()
}

// receiveUpload takes the content of an image, once.
func (s *Server) receiveUpload(w http.ResponseWriter, r *http.Request) {
	id, err := s.admitUpload(r)
	if err != nil {
		drain(r)
	}
	var refused *storageError
	switch {
	case errors.As(err, &refused):
		refuseUploadAs(w, refused.status, refused.code, refused.text)
		return
	case err != nil:
		refuseUpload(w, http.StatusInternalServerError, err.Error())
		return
	}
	came, err := s.store(r, id)
	if err != nil {
		s.Log.Warn("upload not taken", "image", id, "error", err)
		// Whatever is answered here, a client that was cut off does not get it.
		panic(http.ErrAbortHandler)
	}
	s.mu.Lock()
	u, image := s.state.Uploads[id], s.image(id)
	if u == nil || image == nil || u.Received {
		s.mu.Unlock()
		s.contents.discard(came.path)
		refuseUploadAs(w, http.StatusForbidden, "AccessDenied", "the upload has ended meanwhile")
		return
	}
	u.Received = true
	image.Status, image.File, image.Updated = imageCreating, came.path, s.now()
	s.state.Contents[id] = came.Content
	s.process(id, faultOf(r.Context())) //nolint:contextcheck // the job outlives the request
	s.mu.Unlock()
	s.changed()
	w.Header().Set("ETag", `"`+came.SHA256[:32]+`"`)
	w.WriteHeader(http.StatusOK)
}

// admitUpload returns the image that a request may send the content of.
func (s *Server) admitUpload(r *http.Request) (id string, err error) {
	s.expireUploads()
	quota := s.Quota.withDefaults()
	s.mu.Lock()
	defer s.mu.Unlock()
	id = privatePrefix + r.URL.Path[len(UploadPath):]
	u, query := s.state.Uploads[id], r.URL.Query()
	switch {
	case r.Method != http.MethodPut:
		return "", &storageError{http.StatusMethodNotAllowed, "MethodNotAllowed", "only PUT is signed"}
	case u == nil, u.Received:
		return "", &storageError{http.StatusForbidden, "AccessDenied", "no upload is expected here"}
	case subtle.ConstantTimeCompare([]byte(query.Get("Signature")), []byte(u.Signature)) == 0,
		query.Get("Expires") != strconv.FormatInt(u.Expires.Unix(), 10),
		r.Header.Get("Content-Type") != "application/octet-stream":
		// The content type is part of what is signed.
		return "", &storageError{http.StatusForbidden, "SignatureDoesNotMatch", "signature, expiry or content type are not the signed ones"}
	case r.ContentLength < 0:
		return "", &storageError{http.StatusLengthRequired, "MissingContentLength", "the length must be known"}
	case r.ContentLength > int64(quota.Compressed)*mebibyte:
		return "", &storageError{http.StatusBadRequest, "EntityTooLarge", fmt.Sprintf("at most %d MB can be uploaded", quota.Compressed)}
	}
	return id, nil
}

// process makes an image of what was uploaded, or lets it vanish with an event that says why. The caller holds the lock.
func (s *Server) process(id string, fault *Fault) {
	u, content := s.state.Uploads[id], s.state.Contents[id]
	e := s.event(u.Event)
	if fault != nil && fault.Stuck {
		return
	}
	finish := func() {
		if content.Problem != "" {
			s.dropImage(id, content.Problem)
			return
		}
		s.finishImage(id, u.Region, content.sizeMB())
		delete(s.state.Uploads, id)
		s.progress(e, eventFinished, 100)
	}
	s.begin(&job{
		about: imageNumber(id), image: id,
		steps: []step{{nil, func() { s.progress(e, eventStarted, 0) }}, {nil, func() { s.progress(e, eventStarted, 50) }}, {nil, finish}},
		failed: func(err error) {
			if !errors.Is(err, errReplaced) {
				s.dropImage(id, err.Error())
			}
		},
	}, fault)
}

// endUpload forgets what is known of an upload. The caller holds the lock.
func (s *Server) endUpload(id, why string) {
	u := s.state.Uploads[id]
	if u == nil {
		return
	}
	delete(s.state.Uploads, id)
	s.abandon(s.event(u.Event), errors.New(why))
}

// expireUploads removes the images whose content has not come in time.
func (s *Server) expireUploads() {
	s.mu.Lock()
	var late []string
	for id, u := range s.state.Uploads {
		if !u.Received && s.Now().After(u.Expires) {
			late = append(late, id)
		}
	}
	for _, id := range late {
		s.dropImage(id, "Upload timed out.")
	}
	s.mu.Unlock()
	if len(late) > 0 {
		s.changed()
	}
}

// isUpload says whether an event is that of an upload that goes on. The caller holds the lock.
func (s *Server) isUpload(event int) bool {
	for _, u := range s.state.Uploads {
		if u.Event == event {
			return true
		}
	}
	return false
}
