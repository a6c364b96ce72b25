package linode

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"io"
	"log/slog"
	"net/http"
	"net/netip"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"time"
)

// maxRequest bounds a request body; user data is the only long part of one.
const maxRequest = 1 << 20

// Server is an emulated Linode account. The zero value is ready to use: an [http.Handler] with the
// API under /v4 and /v4beta. Set the fields before the first request; the methods may be called
// from several goroutines. Close it when it has Machines.
type Server struct {
	// Machines runs the instances. When nil they exist in memory only, and time passes with the
	// requests: each one first moves every unfinished job one step on, so that a client that polls
	// sees provisioning, booting and running without anybody waiting.
	Machines Machines
	// Instant finishes every job at the request after the one that started it. Only without Machines.
	Instant bool

	// Token is the access token that may do everything. When it is empty and Scopes is too, every
	// token is accepted, but there must be one.
	Token string
	// Scopes are further tokens and what they may do: "*" or e.g. "linodes:read_write events:read_only".
	Scopes map[string]string

	// Images, Regions and Types are what the account offers. When nil there is a small set of each:
	// among others the image "private/1" labelled "atoll-node", the regions ap-south and jp-osa,
	// the type g6-nanode-1.
	Images  []Image
	Regions []Region
	Types   []Type

	// Limits and Quota are the vendor's own when zero.
	Limits Limits
	Quota  Quota

	// ImageDir is the folder for what is uploaded; it is made when it is needed. When empty it is a temporary one, which
	// Close removes.
	ImageDir string

	// Lookup tells the metadata service which instance has the address that a request comes from.
	// When nil, it is the instance whose public address that is.
	Lookup func(netip.Addr) (id int, ok bool)

	// OnChange is called after every change of what Snapshot returns, possibly from several
	// goroutines at once. It must not call the server's handler.
	OnChange func()

	Now func() time.Time
	Log *slog.Logger

	setup  sync.Once
	mux    *http.ServeMux
	ctx    context.Context // the life of background jobs, ended by Close
	cancel context.CancelFunc
	work   sync.WaitGroup

	contents contents
	arrivals atomic.Int64 // numbers uploads

	mu     sync.Mutex
	state  state
	jobs   map[int]*job
	labels map[string]struct{} // of instances whose machines are being made
	limits map[bucket]*window
	tokens map[string]metadataToken

	faults faults
}

// ServeHTTP implements [http.Handler].
func (s *Server) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	s.start()
	for name, value := range map[string]string{"X-Spec-Version": "4.208.1", "Cache-Control": "private, max-age=0, s-maxage=0, no-cache, no-store"} {
		w.Header().Set(name, value)
	}
	if strings.HasPrefix(r.URL.Path, UploadPath) {
		s.serveFaulty(w, r, s.receiveUpload, func(w http.ResponseWriter, status int, text string) {
			drain(r)
			refuseUpload(w, status, text)
		})
		return
	}
	// Reading the body first lets the server notice a client that hangs up while it waits.
	body, err := io.ReadAll(http.MaxBytesReader(w, r.Body, maxRequest))
	if err != nil {
		writeError(w, fail(http.StatusRequestEntityTooLarge, "Request too large"))
		return
	}
	r.Body = io.NopCloser(bytes.NewReader(body))
	r = escapeImage(r)
	for _, version := range []string{"/v4", "/v4beta"} {
		if strings.HasPrefix(r.URL.Path, version+"/") {
			http.StripPrefix(version, http.HandlerFunc(s.serveAPI)).ServeHTTP(w, r)
			return
		}
	}
	writeError(w, notFound())
}

func (s *Server) serveAPI(w http.ResponseWriter, r *http.Request) {
	s.serveFaulty(w, r, s.mux.ServeHTTP, func(w http.ResponseWriter, status int, text string) { writeError(w, fail(status, text)) })
}

// Close stops unfinished jobs and ends requests that hang, and waits for them. A job that it stopped
// is done again by a server that restores the snapshot.
func (s *Server) Close() {
	s.start()
	s.mu.Lock()
	s.cancel() // under the lock, so that no job begins after it
	s.mu.Unlock()
	s.work.Wait()
	if err := s.contents.close(); err != nil {
		s.Log.Error("cannot remove uploaded images", "error", err)
	}
}

func (s *Server) start() {
	s.setup.Do(func() {
		s.ctx, s.cancel = context.WithCancel(context.Background())
		if s.Log == nil {
			s.Log = slog.New(slog.DiscardHandler)
		}
		if s.Now == nil {
			s.Now = time.Now
		}
		if s.Regions == nil {
			s.Regions = DefaultRegions()
		}
		if s.Types == nil {
			s.Types = DefaultTypes()
		}
		if s.Images == nil {
			s.Images = DefaultImages()
		}
		images := make([]Image, 0, len(s.Images))
		for _, image := range s.Images {
			images = append(images, image.complete(s.Regions))
		}
		s.Images = images
		s.contents.dir = s.ImageDir
		s.state = newState(s.Images)
		s.jobs = map[int]*job{}
		s.labels = map[string]struct{}{}
		s.limits = map[bucket]*window{}
		s.tokens = map[string]metadataToken{}
		s.mux = http.NewServeMux()
		s.mux.HandleFunc("/", func(w http.ResponseWriter, _ *http.Request) { writeError(w, notFound()) })
		for _, routes := range [][]route{
			s.instanceRoutes(), s.powerRoutes(), s.diskRoutes(), s.ipRoutes(), s.eventRoutes(),
			s.imageRoutes(), s.catalogueRoutes(), s.accountRoutes(), s.firewallRoutes(),
		} {
			for _, route := range routes {
				s.mux.Handle(route.pattern, s.handler(route))
			}
		}
	})
}

// route is one operation of the API.
type route struct {
	pattern string // as for http.ServeMux, without the version
	scope   string // what the token must be allowed to do; "*" is open to everybody
	limit   limitName
	do      func(*call) (any, error)
}

// call is a request on its way through an operation.
type call struct {
	*http.Request
	fault *Fault
}

// decode reads the request body; an empty one is an empty object.
func (c *call) decode(into any) error {
	data, err := io.ReadAll(c.Body)
	if err != nil {
		return fail(http.StatusBadRequest, "Cannot read the request")
	}
	if len(bytes.TrimSpace(data)) == 0 {
		return nil
	}
	err = json.Unmarshal(data, into)
	var wrongType *json.UnmarshalTypeError
	switch {
	case errors.As(err, &wrongType) && wrongType.Field != "":
		return invalid(wrongType.Field, wrongType.Field+" is not valid")
	case err != nil:
		return fail(http.StatusBadRequest, "Invalid JSON")
	}
	return nil
}

// number returns a numeric part of the path; the vendor finds nothing under another one.
func (c *call) number(name string) (int, error) {
	n, err := strconv.Atoi(c.PathValue(name))
	if err != nil || n < 1 {
		return 0, notFound()
	}
	return n, nil
}

func (s *Server) handler(route route) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		w.Header().Set("X-Accepted-Oauth-Scopes", route.scope)
		token, err := s.authorize(w, r, route.scope)
		if err == nil {
			err = s.admit(w, token, route.limit)
		}
		if err != nil {
			writeError(w, err)
			return
		}
		s.tick()
		s.expireUploads()
		answer, err := route.do(&call{Request: r, fault: faultOf(r.Context())})
		if err != nil {
			writeError(w, err)
			return
		}
		if r.Method != http.MethodGet {
			s.changed()
		}
		if answer == nil {
			answer = struct{}{}
		}
		writeJSON(w, http.StatusOK, answer)
	})
}

func (s *Server) changed() {
	if s.OnChange != nil {
		s.OnChange()
	}
}

// now is the time as the API shows it: UTC, whole seconds.
func (s *Server) now() timestamp { return timestamp{s.Now().UTC().Truncate(time.Second)} }

// timestamp is a time in the API's form, which has no zone.
type timestamp struct{ time.Time }

const timeLayout = "2006-01-02T15:04:05"

// MarshalJSON implements [json.Marshaler].
func (t timestamp) MarshalJSON() ([]byte, error) {
	return json.Marshal(t.UTC().Format(timeLayout))
}

// UnmarshalJSON implements [json.Unmarshaler].
func (t *timestamp) UnmarshalJSON(data []byte) error {
	var text string
	if err := json.Unmarshal(data, &text); err != nil {
		return err
	}
	parsed, err := time.Parse(timeLayout, text)
	t.Time = parsed
	return err
}
