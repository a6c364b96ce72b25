// Package contract checks HTTP traffic against a vendor's OpenAPI document.
//
// The emulated clouds of the lab stand in for the real ones, so what they accept and what they
// answer has to be what the vendor has published. A Contract sits as middleware between a real
// client library and an emulator and remembers every request and every answer that the
// document does not allow.
package contract

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"slices"
	"strings"
	"sync"

	"github.com/dlclark/regexp2"
	"github.com/getkin/kin-openapi/openapi3"
	"github.com/getkin/kin-openapi/openapi3filter"
	"github.com/getkin/kin-openapi/routers"
	"github.com/getkin/kin-openapi/routers/gorillamux"
)

// Contract is an OpenAPI document together with the violations that were seen. Its methods may
// be called from several goroutines.
type Contract struct {
	router  routers.Router
	options *openapi3filter.Options
	outside []string

	mu         sync.Mutex
	violations []Violation
}

// Part says which half of an exchange a violation is in.
type Part string

// The parts of an exchange.
const (
	Request  Part = "request"
	Response Part = "response"
)

// Violation is one request or answer that the document does not allow.
type Violation struct {
	Part   Part
	Method string
	Path   string
	// Status is what the server answered, 0 when the exchange was cut before an answer. A bad
	// request that was refused (4xx) shows a client at fault; one that was accepted shows a
	// server that is too lenient as well.
	Status  int
	Message string
}

// String returns the violation on one line.
func (v Violation) String() string {
	return fmt.Sprintf("%s of %s %s (status %d): %s", v.Part, v.Method, v.Path, v.Status, v.Message)
}

// Load reads an OpenAPI 3 document in JSON or YAML and applies mends to it, for what the vendor wrote
// down wrong. Of the servers that the document names only the path counts, because an emulator listens
// on another host.
func Load(path string, mends ...Mend) (*Contract, error) {
	doc, err := openapi3.NewLoader().LoadFromFile(path)
	if err != nil {
		return nil, fmt.Errorf("load OpenAPI document: %w", err)
	}
	if doc.Servers, err = pathsOnly(doc.Servers); err != nil {
		return nil, fmt.Errorf("load OpenAPI document %s: %w", path, err)
	}
	for _, mend := range mends {
		if err := mend(doc); err != nil {
			return nil, fmt.Errorf("mend OpenAPI document %s: %w", path, err)
		}
	}
	router, err := gorillamux.NewRouter(doc)
	if err != nil {
		return nil, fmt.Errorf("route OpenAPI document %s: %w", path, err)
	}
	options := &openapi3filter.Options{
		MultiError:            true,
		IncludeResponseStatus: true,
		// A default that the check writes into the request would hide what the client really sent.
		SkipSettingDefaults: true,
		AuthenticationFunc:  openapi3filter.NoopAuthenticationFunc,
		RegexCompiler:       compileECMAScript,
	}
	// The stock message prints the offending value, which may be a password.
	options.WithCustomSchemaErrorFunc(func(err *openapi3.SchemaError) string {
		return "/" + strings.Join(err.JSONPointer(), "/") + ": " + err.Reason
	})
	return &Contract{router: router, options: options}, nil
}

// Fork returns a Contract over the same document with no violations yet; reading a large
// document takes a good part of a second, so tests share it.
func (c *Contract) Fork() *Contract {
	return &Contract{router: c.router, options: c.options, outside: c.outside}
}

// Except lets requests pass unseen whose path begins with one of the prefixes: those to other services, such as the
// object storage that an API sends its clients to. Call it before the first request.
func (c *Contract) Except(prefixes ...string) { c.outside = append(c.outside, prefixes...) }

// Middleware passes every request to next and notes what the document does not allow. Requests
// and answers go through unchanged.
func (c *Contract) Middleware(next http.Handler) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if slices.ContainsFunc(c.outside, func(prefix string) bool { return strings.HasPrefix(r.URL.Path, prefix) }) {
			next.ServeHTTP(w, r)
			return
		}
		body, err := io.ReadAll(r.Body)
		if err != nil {
			http.Error(w, "cannot read the request", http.StatusBadRequest)
			return
		}
		r.Body = io.NopCloser(bytes.NewReader(body))
		input, problem := c.checkRequest(r, body)

		answer := &recorder{header: http.Header{}, status: http.StatusOK}
		func() {
			status := 0
			defer func() {
				// A handler may cut the connection by a panic; the request counts all the same.
				if problem != "" {
					c.note(Violation{Request, r.Method, r.URL.Path, status, problem})
				}
			}()
			next.ServeHTTP(answer, r)
			status = answer.status
		}()

		if input != nil {
			if problem := c.checkResponse(r.Context(), input, answer); problem != "" {
				c.note(Violation{Response, r.Method, r.URL.Path, answer.status, problem})
			}
		}
		for name, values := range answer.header {
			w.Header()[name] = values
		}
		w.WriteHeader(answer.status)
		_, _ = w.Write(answer.body.Bytes()) // the client may be gone already
	})
}

// Violations returns what was seen up to now, in order.
func (c *Contract) Violations() []Violation {
	c.mu.Lock()
	defer c.mu.Unlock()
	return append([]Violation(nil), c.violations...)
}

func (c *Contract) note(v Violation) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.violations = append(c.violations, v)
}

// checkRequest returns nil input for a path that the document does not have.
func (c *Contract) checkRequest(r *http.Request, body []byte) (*openapi3filter.RequestValidationInput, string) {
	clone := r.Clone(r.Context())
	clone.Body = io.NopCloser(bytes.NewReader(body))
	route, params, err := c.router.FindRoute(clone)
	if err != nil {
		return nil, message(err)
	}
	input := &openapi3filter.RequestValidationInput{
		Request: clone, PathParams: params, Route: route, Options: c.options,
	}
	if err := openapi3filter.ValidateRequest(r.Context(), input); err != nil {
		return input, message(err)
	}
	return input, ""
}

func (c *Contract) checkResponse(ctx context.Context, in *openapi3filter.RequestValidationInput, a *recorder) string {
	input := &openapi3filter.ResponseValidationInput{
		RequestValidationInput: in, Status: a.status, Header: a.header, Options: c.options,
	}
	input.SetBodyBytes(a.body.Bytes())
	if err := openapi3filter.ValidateResponse(ctx, input); err != nil {
		return message(err)
	}
	return ""
}

// message shortens what can be pages for a body with alternatives.
func message(err error) string {
	text := strings.Join(strings.Fields(err.Error()), " ")
	if limit := 800; len(text) > limit {
		text = text[:limit] + "…"
	}
	return text
}

func pathsOnly(servers openapi3.Servers) (openapi3.Servers, error) {
	var paths openapi3.Servers
	for _, server := range servers {
		u, err := url.Parse(server.URL)
		if err != nil {
			return nil, fmt.Errorf("server: %w", err)
		}
		if path := strings.TrimSuffix(u.Path, "/"); path != "" {
			paths = append(paths, &openapi3.Server{URL: path})
		}
	}
	return paths, nil
}

// compileECMAScript compiles the patterns of vendors' documents, which use look-ahead; the
// standard library has none.
func compileECMAScript(pattern string) (openapi3.RegexMatcher, error) {
	compiled, err := regexp2.Compile(pattern, regexp2.ECMAScript)
	if err != nil {
		return nil, fmt.Errorf("compile pattern: %w", err)
	}
	return matcher{compiled}, nil
}

type matcher struct{ pattern *regexp2.Regexp }

// MatchString implements [openapi3.RegexMatcher]; a pattern that fails to run matches nothing.
func (m matcher) MatchString(s string) bool {
	ok, err := m.pattern.MatchString(s)
	return err == nil && ok
}

// recorder keeps an answer until it has been checked.
type recorder struct {
	header http.Header
	status int
	wrote  bool
	body   bytes.Buffer
}

func (r *recorder) Header() http.Header { return r.header }

func (r *recorder) WriteHeader(status int) {
	if !r.wrote {
		r.status, r.wrote = status, true
	}
}

func (r *recorder) Write(data []byte) (int, error) {
	r.wrote = true
	return r.body.Write(data)
}

// ErrNoDocuments means that the vendors' documents are not on this machine.
var ErrNoDocuments = errors.New("vendors' OpenAPI documents are not here")
