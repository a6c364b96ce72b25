package contract_test

import (
	"encoding/json"
	"errors"
	"io"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/getkin/kin-openapi/openapi3"
	"github.com/google/go-cmp/cmp"

	"github.com/atollhq/terraform-provider-atoll/internal/lab/contract"
	"github.com/atollhq/terraform-provider-atoll/internal/lab/contract/contracttest"
)

// document has a pattern with look-ahead, a required token and a base path, as the vendors' have.
const document = `{
  "openapi": "3.0.1",
  "info": {"title": "test", "version": "1"},
  "servers": [{"url": "https://api.example.com/base/v1"}],
  "security": [{"token": []}],
  "components": {"securitySchemes": {"token": {"type": "http", "scheme": "bearer"}}},
  "paths": {
    "/things": {
      "post": {
        "requestBody": {"required": true, "content": {"application/json": {"schema": {
          "type": "object", "required": ["label"], "additionalProperties": false,
          "properties": {
            "label": {"type": "string", "pattern": "^((?!--)[a-z-])+$"},
            "password": {"type": "string", "maxLength": 4},
            "size": {"type": "integer", "default": 7}
          }}}}},
        "responses": {"200": {"description": "", "content": {"application/json": {"schema": {
          "type": "object", "required": ["id"], "properties": {"id": {"type": "integer"}}}}}}}
      }
    },
    "/things/{id}": {
      "get": {
        "parameters": [{"name": "id", "in": "path", "required": true, "schema": {"type": "string"}}],
        "responses": {"200": {"description": "", "content": {"application/json": {"schema": {"type": "object"}}}}}
      }
    }
  }
}`

func load(t *testing.T, text string, mends ...contract.Mend) (*contract.Contract, error) {
	t.Helper()
	path := filepath.Join(t.TempDir(), "openapi.json")
	if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	return contract.Load(path, mends...)
}

func TestMiddleware(t *testing.T) {
	const good = `{"label":"a-b"}`
	tests := []struct {
		name         string
		method, path string
		body         string
		status       int
		answer       string
		want         []string // part, and a word of the message
	}{
		{"all is well", "POST", "/base/v1/things", good, 200, `{"id":1}`, nil},
		{"an escaped slash", "GET", "/base/v1/things/private%2F1", "", 200, `{}`, nil},
		{"pattern", "POST", "/base/v1/things", `{"label":"a--b"}`, 200, `{"id":1}`, []string{"request /label"}},
		{"unknown field", "POST", "/base/v1/things", `{"label":"a","colour":"red"}`, 200, `{"id":1}`, []string{"request colour"}},
		{"no body", "POST", "/base/v1/things", "", 200, `{"id":1}`, []string{"request value is required"}},
		{"answer without id", "POST", "/base/v1/things", good, 200, `{}`, []string{"response id"}},
		{"answer with another type", "POST", "/base/v1/things", good, 200, `{"id":"1"}`, []string{"response /id"}},
		{"status", "POST", "/base/v1/things", good, 201, `{"id":1}`, []string{"response status"}},
		{"both", "POST", "/base/v1/things", `{}`, 200, `{}`, []string{"request label", "response id"}},
		{"path", "GET", "/base/v1/nothing", "", 404, `{}`, []string{"request no matching operation"}},
		{"base path", "GET", "/things/1", "", 200, `{}`, []string{"request no matching operation"}},
		{"method", "DELETE", "/base/v1/things/1", "", 200, `{}`, []string{"request method not allowed"}},
	}
	shared, err := load(t, document)
	if err != nil {
		t.Fatal(err)
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			c := shared.Fork()
			var seen string
			web := httptest.NewServer(c.Middleware(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
				data, err := io.ReadAll(r.Body)
				if err != nil {
					t.Error(err)
				}
				seen = string(data)
				w.Header().Set("Content-Type", "application/json")
				w.Header().Set("X-Extra", "kept")
				w.WriteHeader(test.status)
				if _, err := io.WriteString(w, test.answer); err != nil {
					t.Error(err)
				}
			})))
			defer web.Close()
			status, header, body := do(t, test.method, web.URL+test.path, test.body)
			if seen != test.body || status != test.status || body != test.answer || header.Get("X-Extra") != "kept" {
				t.Errorf("changed on the way: request %q, answer %d %q %v", seen, status, body, header)
			}
			var got []string
			for n, v := range c.Violations() {
				line := string(v.Part) + " " + v.Message
				if n < len(test.want) {
					part, word, _ := strings.Cut(test.want[n], " ")
					if string(v.Part) == part && strings.Contains(v.Message, word) {
						line = test.want[n]
					}
				}
				if v.Status != test.status {
					t.Errorf("violation has status %d", v.Status)
				}
				got = append(got, line)
			}
			if diff := cmp.Diff(test.want, got); diff != "" {
				t.Errorf("violations (-want +got)\n%s", diff)
			}
		})
	}
}

// TestMessagesHideValues: a request may hold a password, and violations are printed.
func TestMessagesHideValues(t *testing.T) {
	c, err := load(t, document)
	if err != nil {
		t.Fatal(err)
	}
	web := httptest.NewServer(c.Middleware(http.NotFoundHandler()))
	defer web.Close()
	do(t, http.MethodPost, web.URL+"/base/v1/things", `{"label":"a","password":"correct horse"}`)
	text, err := json.Marshal(c.Violations())
	if err != nil {
		t.Fatal(err)
	}
	if !strings.Contains(string(text), "/password") || strings.Contains(string(text), "horse") {
		t.Errorf("violations %s", text)
	}
}

func TestCutConnectionCounts(t *testing.T) {
	c, err := load(t, document)
	if err != nil {
		t.Fatal(err)
	}
	web := httptest.NewServer(c.Middleware(http.HandlerFunc(func(http.ResponseWriter, *http.Request) { panic(http.ErrAbortHandler) })))
	defer web.Close()
	r, err := http.NewRequestWithContext(t.Context(), http.MethodPost, web.URL+"/base/v1/things", strings.NewReader(`{}`))
	if err != nil {
		t.Fatal(err)
	}
	r.Header.Set("Content-Type", "application/json")
	if response, err := http.DefaultClient.Do(r); err == nil {
		_ = response.Body.Close()
		t.Fatal("an answer over a cut connection")
	}
	if got := c.Violations(); len(got) != 1 || got[0].Part != contract.Request || got[0].Status != 0 {
		t.Errorf("violations %v", got)
	}
}

func TestLoadErrors(t *testing.T) {
	if _, err := contract.Load(filepath.Join(t.TempDir(), "none.json")); err == nil {
		t.Error("no error for a missing document")
	}
	if _, err := load(t, `{"openapi":`); err == nil {
		t.Error("no error for a broken document")
	}
	refused := errors.New("refused")
	if _, err := load(t, document, func(*openapi3.T) error { return refused }); !errors.Is(err, refused) {
		t.Errorf("error %v, want the mend's", err)
	}
	if _, err := load(t, document, contract.LinodeMends()...); err == nil {
		t.Error("mends of a place that is not there")
	}
}

func TestDocuments(t *testing.T) {
	dir := t.TempDir()
	t.Setenv(contract.Environment, dir)
	if got, err := contract.Documents(); err != nil || got != dir {
		t.Errorf("%q, error %v, want %q", got, err, dir)
	}
	t.Setenv(contract.Environment, filepath.Join(dir, "none"))
	if _, err := contract.Documents(); !errors.Is(err, contract.ErrNoDocuments) {
		t.Errorf("error %v, want ErrNoDocuments", err)
	}
	t.Setenv(contract.Environment, "")
	t.Chdir(dir)
	if _, err := contract.Documents(); !errors.Is(err, contract.ErrNoDocuments) {
		t.Errorf("outside the project: error %v, want ErrNoDocuments", err)
	}
}

// TestVendorsDocumentsLoad also shows that the base path of Cloudflare is kept.
func TestVendorsDocumentsLoad(t *testing.T) {
	for name, path := range map[string]string{
		contracttest.Linode:     "/v4/regions",
		contracttest.Cloudflare: "/client/v4/zones",
	} {
		c := contracttest.Load(t, name)
		web := httptest.NewServer(c.Middleware(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) { w.WriteHeader(http.StatusTeapot) })))
		do(t, http.MethodGet, web.URL+path, "")
		web.Close()
		for _, v := range c.Violations() {
			if v.Part == contract.Request {
				t.Errorf("%s: %v", name, v)
			}
		}
	}
}

func do(t *testing.T, method, url, body string) (int, http.Header, string) {
	t.Helper()
	r, err := http.NewRequestWithContext(t.Context(), method, url, strings.NewReader(body))
	if err != nil {
		t.Fatal(err)
	}
	if body != "" {
		r.Header.Set("Content-Type", "application/json")
	}
	response, err := http.DefaultClient.Do(r)
	if err != nil {
		t.Fatal(err)
	}
	data, err := io.ReadAll(response.Body)
	if err := errors.Join(err, response.Body.Close()); err != nil {
		t.Fatal(err)
	}
	return response.StatusCode, response.Header, string(data)
}
