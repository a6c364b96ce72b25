package linode

import (
	"context"
	"net/http"
	"strings"
	"sync"
	"time"
)

// Fault makes matching requests go wrong. Exactly what its fields say happens, in this order: the
// answer is delayed, hangs, is an error, or the request is carried out and something is lost.
type Fault struct {
	// Method is the HTTP method, any when empty.
	Method string
	// PathPrefix and Path select by the path without the version, e.g. "/linode/instances"; both
	// empty select every request of the API. Those of the metadata service are below MetadataPath.
	PathPrefix string
	Path       string
	// Skip is the number of matching requests that still go well first.
	Skip int
	// Times is the number of requests that go wrong, 1 when 0, all when negative.
	Times int

	// Delay passes before anything else.
	Delay time.Duration
	// Hang leaves the request without an answer until the client gives up or the server closes.
	Hang bool
	// Status is an error to answer with, and Reason its text; nothing is carried out.
	Status int
	Reason string
	// RetryAfter goes into the header of that name, in whole seconds, rounded up.
	RetryAfter time.Duration
	// LoseAnswer carries the request out and cuts the connection instead of answering.
	LoseAnswer bool
	// LoseUserData creates or rebuilds the instance without its user data, though the API says that
	// it has some.
	LoseUserData bool
	// FailJob makes what the request started fail: its event ends as failed, the instance is offline, the image vanishes.
	FailJob bool
	// CutAfter cuts the connection of an upload when that many bytes of it have come.
	CutAfter int64
	// BytesPerSecond slows an upload down; it comes in ten pieces a second.
	BytesPerSecond int64
	// Stuck leaves an image that the request uploads, makes or replicates as it is for good: "creating", or a copy
	// "pending replication". It can still be deleted.
	Stuck bool
}

type faults struct {
	mu   sync.Mutex
	list []*injected
}

type injected struct {
	Fault
	left int // negative: never used up
}

// Inject makes requests go wrong from now on. Of several faults that match one request the first
// is used. The returned function takes the fault back.
func (s *Server) Inject(f Fault) (remove func()) {
	entry := &injected{Fault: f, left: f.Times}
	if f.Times == 0 {
		entry.left = 1
	}
	s.faults.mu.Lock()
	defer s.faults.mu.Unlock()
	s.faults.list = append(s.faults.list, entry)
	return func() {
		s.faults.mu.Lock()
		defer s.faults.mu.Unlock()
		entry.left = 0
	}
}

// PendingFaults returns how many injected faults no request has met yet, so that a test knows that what it survived has
// happened. A fault that lasts counts until it is taken back.
func (s *Server) PendingFaults() int {
	s.faults.mu.Lock()
	defer s.faults.mu.Unlock()
	pending := 0
	for _, entry := range s.faults.list {
		if entry.left != 0 {
			pending++
		}
	}
	return pending
}

// take returns the fault of a request, which it uses up, or nil.
func (f *faults) take(r *http.Request) *Fault {
	f.mu.Lock()
	defer f.mu.Unlock()
	for _, entry := range f.list {
		switch {
		case entry.left == 0:
		case entry.Method != "" && entry.Method != r.Method:
		case entry.Path != "" && entry.Path != r.URL.Path:
		case !strings.HasPrefix(r.URL.Path, entry.PathPrefix):
		case strings.HasPrefix(r.URL.Path, MetadataPath) && !strings.HasPrefix(entry.Path+entry.PathPrefix, MetadataPath):
		case entry.Skip > 0:
			entry.Skip--
		default:
			if entry.left > 0 {
				entry.left--
			}
			fault := entry.Fault
			return &fault
		}
	}
	return nil
}

type faultKey struct{}

// faultOf returns the fault that an operation has to take part in, or nil.
func faultOf(ctx context.Context) *Fault {
	fault, _ := ctx.Value(faultKey{}).(*Fault)
	return fault
}

// serveFaulty lets next answer unless a fault says otherwise; refuse writes an error in next's own form.
func (s *Server) serveFaulty(w http.ResponseWriter, r *http.Request, next http.HandlerFunc, refuse func(http.ResponseWriter, int, string)) {
	fault := s.faults.take(r)
	if fault == nil {
		next(w, r)
		return
	}
	s.Log.Info("fault injected", "method", r.Method, "path", r.URL.Path, "status", fault.Status, "hang", fault.Hang)
	if fault.Delay > 0 && !s.pause(r.Context(), fault.Delay) {
		panic(http.ErrAbortHandler)
	}
	if fault.Hang {
		select {
		case <-r.Context().Done():
		case <-s.ctx.Done():
		}
		panic(http.ErrAbortHandler)
	}
	if fault.RetryAfter > 0 {
		w.Header().Set("Retry-After", seconds(fault.RetryAfter))
	}
	if fault.Status != 0 {
		text := fault.Reason
		if text == "" {
			text = http.StatusText(fault.Status)
		}
		refuse(w, fault.Status, text)
		return
	}
	r = r.WithContext(context.WithValue(r.Context(), faultKey{}, fault))
	if fault.LoseAnswer {
		next(nobody{http.Header{}}, r)
		panic(http.ErrAbortHandler) // net/http cuts the connection
	}
	next(w, r)
}

// pause returns false when the client or the server went away meanwhile.
func (s *Server) pause(ctx context.Context, d time.Duration) bool {
	timer := time.NewTimer(d)
	defer timer.Stop()
	select {
	case <-timer.C:
		return true
	case <-ctx.Done():
	case <-s.ctx.Done():
	}
	return false
}

// nobody is where a lost answer goes.
type nobody struct{ header http.Header }

func (n nobody) Header() http.Header            { return n.header }
func (n nobody) Write(data []byte) (int, error) { return len(data), nil }
func (n nobody) WriteHeader(int)                {}
