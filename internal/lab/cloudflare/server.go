package cloudflare

import (
	"bytes"
	"context"
	"crypto/rand"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"errors"
	"io"
	"log/slog"
	"net/http"
	"strings"
	"sync"
	"sync/atomic"
	"time"
)

const (
	// base is where the vendor's API begins.
	base = "/client/v4"
	// maxRequest bounds a request body.
	maxRequest = 1 << 20
)

// AccountID is the identifier of the emulated account, and AccountName what it is called.
const (
	AccountID   = "01a7362d577a6c3019a474fd6f485823"
	AccountName = "Atoll lab"
)

// ZoneID returns the identifier of a zone of the emulated account by its name.
func ZoneID(name string) string { return identifier("zone", name) }

// DefaultZone is the zone of an account whose zones nobody named.
const DefaultZone = "example.com"

// Server is an emulated Cloudflare account. The zero value is ready to use: an [http.Handler] with the API under
// /client/v4. Set the fields before the first request; the methods may be called from several goroutines. Close it when
// requests may hang.
type Server struct {
	// Token is the access token that may do everything. When it is empty and Tokens is too, every token is accepted, but
	// there must be one.
	Token string
	// Tokens are further tokens and what they may do.
	Tokens map[string]Token

	// Zones are the names of the account's zones; DefaultZone alone when empty.
	Zones []string
	// Quotas are those of an account without an Enterprise contract when zero.
	Quotas Quotas
	// Limits are the vendor's own when zero.
	Limits Limits

	// ListRevoked lets the list of certificates have those that are revoked, too. Whether the vendor's has them it says nowhere.
	ListRevoked bool

	// Health says what the monitors found. When nil, every endpoint of a pool that has a monitor is healthy. It must not
	// call the server's handler.
	Health Health

	// OnChange is called after every change of what Account returns, possibly from several goroutines at once. It must not
	// call the server's handler.
	OnChange func()

	Now func() time.Time
	Log *slog.Logger

	setup  sync.Once
	mux    *http.ServeMux
	ctx    context.Context // the life of requests that hang, ended by Close
	cancel context.CancelFunc

	mu      sync.Mutex
	state   Account
	windows map[string]*window
	current atomic.Pointer[Account]

	faults faults
}

// Quotas are how much an account may have; a zero field is what an account without an Enterprise contract may have by
// the vendor's page on the limitations of load balancing.
type Quotas struct {
	LoadBalancers int // 20
	Pools         int // 20
	Endpoints     int // 20, in all pools together
	Monitors      int // 1.5 times Pools
	// Interval is the shortest time between two checks of a monitor: 15 s.
	Interval time.Duration
}

// Enterprise returns the quotas of a contract: monitors check every 10 s, and there is room for more of everything.
func Enterprise() Quotas {
	return Quotas{LoadBalancers: 100, Pools: 200, Endpoints: 1000, Interval: 10 * time.Second}
}

func (q Quotas) withDefaults() Quotas {
	for _, n := range []*int{&q.LoadBalancers, &q.Pools, &q.Endpoints} {
		if *n == 0 {
			*n = 20
		}
	}
	if q.Monitors == 0 {
		q.Monitors = q.Pools * 3 / 2
	}
	if q.Interval == 0 {
		q.Interval = 15 * time.Second
	}
	return q
}

// ServeHTTP implements [http.Handler].
func (s *Server) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	s.start()
	w.Header().Set("Cf-Ray", newID()[:16]+"-LAB")
	w.Header().Set("Cf-Cache-Status", "DYNAMIC")
	// Reading the body first lets the server notice a client that hangs up while it waits.
	body, err := io.ReadAll(http.MaxBytesReader(w, r.Body, maxRequest))
	if err != nil {
		writeError(w, fail(http.StatusRequestEntityTooLarge, codeInternal, "Request too large"))
		return
	}
	r.Body = io.NopCloser(bytes.NewReader(body))
	if !strings.HasPrefix(r.URL.Path, base+"/") {
		writeError(w, noRoute(r.URL.Path))
		return
	}
	http.StripPrefix(base, http.HandlerFunc(s.serveFaulty)).ServeHTTP(w, r)
}

// Close ends requests that hang.
func (s *Server) Close() {
	s.start()
	s.cancel()
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
		if len(s.Zones) == 0 {
			s.Zones = []string{DefaultZone}
		}
		s.Quotas = s.Quotas.withDefaults()
		s.windows = map[string]*window{}
		s.state = newAccount(s.Zones, s.now())
		var err error
		if s.state.OriginCA, err = newOriginCA(s.now()); err != nil {
			s.Log.Error("the account can issue no certificates", "error", err)
		}
		s.publish()
		s.mux = http.NewServeMux()
		s.mux.HandleFunc("/", s.serveUnknown)
		for _, routes := range [][]route{
			s.tokenRoutes(), s.zoneRoutes(), s.recordRoutes(), s.monitorRoutes(), s.poolRoutes(), s.balancerRoutes(), s.accountRoutes(), s.certificateRoutes(),
		} {
			for _, route := range routes {
				s.mux.Handle(route.pattern, s.handler(route))
			}
		}
	})
}

// serveUnknown answers for what the API, or this emulation of it, does not have.
func (s *Server) serveUnknown(w http.ResponseWriter, r *http.Request) {
	for _, method := range []string{http.MethodGet, http.MethodPost, http.MethodDelete} {
		other := r.Clone(r.Context())
		other.Method = method
		if _, pattern := s.mux.Handler(other); pattern != "/" {
			writeError(w, fail(http.StatusMethodNotAllowed, codeMethod, "Method not allowed for this authentication scheme"))
			return
		}
	}
	writeError(w, noRoute(r.URL.Path))
}

// route is one operation of the API.
type route struct {
	pattern    string // as for http.ServeMux, without /client/v4
	permission string // what the token must be allowed to do; "" is open to every token
	verify     bool   // the operation judges the token itself
	do         func(*call) (any, error)
}

// call is a request on its way through an operation. The operation holds the server's lock.
type call struct {
	*http.Request
	text  string // of the token
	token Token
	zone  *Zone // of the path, when there is one in it
	info  *resultInfo
}

// fields reads the request body, which must be a JSON object.
func (c *call) fields() (map[string]json.RawMessage, error) {
	data, err := io.ReadAll(c.Body)
	if err != nil {
		return nil, fail(http.StatusBadRequest, codeInvalid, "cannot read the request")
	}
	out := map[string]json.RawMessage{}
	if err := json.Unmarshal(data, &out); err != nil {
		return nil, fail(http.StatusBadRequest, codeInvalid, "could not parse the request: it must be a JSON object")
	}
	return out, nil
}

func (s *Server) handler(route route) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		c := &call{Request: r}
		answer, err := func() (any, error) {
			s.mu.Lock()
			defer s.mu.Unlock()
			var err error
			if c.text, c.token, err = s.authenticate(r, route.verify); err != nil {
				return nil, err
			}
			if err := s.admit(w, c.text); err != nil {
				return nil, err
			}
			if err := s.enter(c, route); err != nil {
				return nil, err
			}
			result, err := route.do(c)
			if err == nil && r.Method != http.MethodGet {
				s.publish()
			}
			return result, err
		}()
		if err != nil {
			writeError(w, err)
			return
		}
		if r.Method != http.MethodGet && s.OnChange != nil {
			s.OnChange()
		}
		writeJSON(w, http.StatusOK, envelope{Result: answer, Success: true, ResultInfo: c.info})
	})
}

// enter finds what the path leads through and asks whether the token may go there.
func (s *Server) enter(c *call, route route) error {
	if account := c.PathValue("account"); account != "" && account != AccountID {
		return fail(http.StatusForbidden, codeForbidden, "Authentication error")
	}
	id := c.PathValue("zone")
	if id == "" {
		return c.token.authorize(route.permission)
	}
	if !isIdentifier(id) {
		return noRoute(c.URL.Path)
	}
	for n := range s.state.Zones {
		if s.state.Zones[n].ID == id {
			c.zone = &s.state.Zones[n]
		}
	}
	if c.zone == nil {
		return fail(http.StatusBadRequest, codeNoZone, "Invalid zone identifier")
	}
	if !c.token.reaches(c.zone.Name) {
		return fail(http.StatusForbidden, codeUnauthorized, "Unauthorized to access requested resource")
	}
	return c.token.authorize(route.permission)
}

// now is the time as the API shows it: UTC, microseconds.
func (s *Server) now() time.Time { return s.Now().UTC().Truncate(time.Microsecond) }

// newID makes an identifier as the vendor's are.
func newID() string {
	var b [16]byte
	_, _ = rand.Read(b[:]) // it never fails
	return hex.EncodeToString(b[:])
}

// identifier makes the identifier of a thing that always has the same one.
func identifier(kind, name string) string {
	sum := sha256.Sum256([]byte(kind + "\x00" + name))
	return hex.EncodeToString(sum[:16])
}

func isIdentifier(text string) bool {
	_, err := hex.DecodeString(text)
	return err == nil && len(text) == 32
}

// merge makes an object of a request's fields. Fields that the request does not name are those of current, or the
// vendor's defaults when current is nil; a field that is null has its default. A client cannot set the fields named last.
func merge[T any](current *T, fields map[string]json.RawMessage, readOnly ...string) (T, error) {
	var out T
	all := map[string]json.RawMessage{}
	if current != nil {
		data, err := json.Marshal(current)
		if err != nil {
			return out, err
		}
		if err := json.Unmarshal(data, &all); err != nil {
			return out, err
		}
	}
	for name, value := range fields {
		all[name] = value
	}
	for _, name := range readOnly {
		delete(all, name)
	}
	data, err := json.Marshal(all)
	if err != nil {
		return out, err
	}
	err = json.Unmarshal(data, &out)
	var wrongType *json.UnmarshalTypeError
	switch {
	case errors.As(err, &wrongType):
		return out, invalid("%s must not be %s", wrongType.Field, wrongType.Value)
	case err != nil:
		return out, invalid("%v", err)
	}
	return out, nil
}

// over is what the fields of an update are laid over: the object itself by PATCH, the defaults by PUT.
func over[T any](c *call, object *T) *T {
	if c.Method == http.MethodPatch {
		return object
	}
	return nil
}
