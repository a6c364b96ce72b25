package cloudflare_test

import (
	"bytes"
	"encoding/json"
	"io"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"

	"github.com/atollhq/terraform-provider-atoll/internal/lab/cloudflare"
	"github.com/atollhq/terraform-provider-atoll/internal/lab/contract/contracttest"
)

// token is what the tests' clients show.
const token = "0123456789abcdef"

// The paths of the API that the tests use.
const (
	monitors = "/accounts/" + cloudflare.AccountID + "/load_balancers/monitors"
	pools    = "/accounts/" + cloudflare.AccountID + "/load_balancers/pools"
)

func balancers() string {
	return "/zones/" + cloudflare.ZoneID(cloudflare.DefaultZone) + "/load_balancers"
}

func records() string { return "/zones/" + cloudflare.ZoneID(cloudflare.DefaultZone) + "/dns_records" }

// api is a client of an emulated account.
type api struct {
	t     *testing.T
	url   string
	token string
}

// serve starts s behind the vendor's contract. Violations fail the test.
func serve(t *testing.T, s *cloudflare.Server) api {
	t.Helper()
	return serveThrough(t, s, contracttest.Watched(t, contracttest.Cloudflare))
}

func serveThrough(t *testing.T, s *cloudflare.Server, middleware func(http.Handler) http.Handler) api {
	t.Helper()
	web := httptest.NewServer(middleware(s))
	t.Cleanup(web.Close)
	t.Cleanup(s.Close) // first, so that nothing hangs
	return api{t: t, url: web.URL + "/client/v4", token: token}
}

// answer is what the API says.
type answer struct {
	Result   json.RawMessage `json:"result"`
	Success  bool            `json:"success"`
	Errors   []apiError      `json:"errors"`
	Messages []apiError      `json:"messages"`
	Info     *struct {
		Page       int `json:"page"`
		PerPage    int `json:"per_page"`
		Count      int `json:"count"`
		TotalCount int `json:"total_count"`
		TotalPages int `json:"total_pages"`
	} `json:"result_info"`

	status int
	header http.Header
}

type apiError struct {
	Code    int    `json:"code"`
	Message string `json:"message"`
}

// object is a JSON object of a request or an answer.
type object = map[string]any

// call sends a request and returns the answer, whatever it is.
func (a api) call(method, path string, body any) answer {
	a.t.Helper()
	out, err := a.try(method, path, body)
	if err != nil {
		a.t.Fatal(err)
	}
	return out
}

func (a api) try(method, path string, body any) (answer, error) {
	a.t.Helper()
	var reader io.Reader
	if body != nil {
		data, err := json.Marshal(body)
		if err != nil {
			a.t.Fatal(err)
		}
		reader = bytes.NewReader(data)
	}
	r, err := http.NewRequestWithContext(a.t.Context(), method, a.url+path, reader)
	if err != nil {
		a.t.Fatal(err)
	}
	if a.token != "" {
		r.Header.Set("Authorization", "Bearer "+a.token)
	}
	if body != nil {
		r.Header.Set("Content-Type", "application/json")
	}
	client := http.Client{Transport: &http.Transport{DisableKeepAlives: true}}
	response, err := client.Do(r)
	if err != nil {
		return answer{}, err
	}
	defer func() { _ = response.Body.Close() }()
	out := answer{status: response.StatusCode, header: response.Header}
	if err := json.NewDecoder(response.Body).Decode(&out); err != nil {
		a.t.Fatalf("%s %s: status %d, body is no envelope: %v", method, path, response.StatusCode, err)
	}
	if out.Errors == nil || out.Messages == nil || out.Success != (out.status == http.StatusOK) {
		a.t.Errorf("%s %s: envelope %+v", method, path, out)
	}
	return out, nil
}

// do sends a request that must succeed and returns the object of the answer.
func (a api) do(method, path string, body any) object {
	a.t.Helper()
	got := a.call(method, path, body)
	if got.status != http.StatusOK {
		a.t.Fatalf("%s %s: status %d, %+v", method, path, got.status, got.Errors)
	}
	var out object
	if err := json.Unmarshal(got.Result, &out); err != nil {
		a.t.Fatalf("%s %s: %s: %v", method, path, got.Result, err)
	}
	return out
}

// list returns what a list holds.
func (a api) list(path string) []object {
	a.t.Helper()
	got := a.call(http.MethodGet, path, nil)
	var out []object
	if err := json.Unmarshal(got.Result, &out); err != nil || got.status != http.StatusOK {
		a.t.Fatalf("GET %s: status %d, %+v, %v", path, got.status, got.Errors, err)
	}
	return out
}

// refused sends a request that must fail as told.
func (a api) refused(method, path string, body any, status, code int, word string) {
	a.t.Helper()
	got := a.call(method, path, body)
	if got.status != status || len(got.Errors) == 0 || got.Errors[0].Code != code || !strings.Contains(got.Errors[0].Message, word) {
		a.t.Errorf("%s %s: status %d, errors %+v; want %d, %d …%s…", method, path, got.status, got.Errors, status, code, word)
	}
}

// text is a field of an object.
func text(o object, field string) string {
	s, _ := o[field].(string)
	return s
}

// pool is the request for a pool with one endpoint.
func pool(name string) object {
	return object{"name": name, "origins": []object{{"name": "sg1", "address": "192.0.2.1"}}}
}

// with returns a copy of an object with a field set.
func with(o object, field string, value any) object {
	out := object{field: value}
	for name, v := range o {
		if name != field {
			out[name] = v
		}
	}
	return out
}

// balanced makes a monitor, a pool and a load balancer for www.example.com and returns them.
func balanced(a api) (monitor, pool, balancer object) {
	a.t.Helper()
	monitor = a.do(http.MethodPost, monitors, object{"type": "http", "path": "/healthz", "expected_codes": "200"})
	pool = a.do(http.MethodPost, pools, object{
		"name": "asia", "monitor": monitor["id"], "origins": []object{{"name": "sg1", "address": "192.0.2.1"}, {"name": "jp1", "address": "192.0.2.2"}},
	})
	balancer = a.do(http.MethodPost, balancers(), object{
		"name": "www.example.com", "proxied": true, "default_pools": []any{pool["id"]}, "fallback_pool": pool["id"],
	})
	return monitor, pool, balancer
}
