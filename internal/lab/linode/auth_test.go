package linode_test

import (
	"errors"
	"net/http"
	"net/http/httptest"
	"testing"

	"github.com/linode/linodego"

	"github.com/atollhq/terraform-provider-atoll/internal/lab/linode"
)

func TestTokens(t *testing.T) {
	const reads, writes = "reads", "writes"
	tests := []struct {
		name   string
		server *linode.Server
		token  string
		want   int // of a list, and below of a creation
		create int
	}{
		{"any token will do", &linode.Server{}, "whatever", 200, 200},
		{"no token", &linode.Server{}, "", 401, 401},
		{"the right one", &linode.Server{Token: token}, token, 200, 200},
		{"a wrong one", &linode.Server{Token: token}, "guess", 401, 401},
		{"may only read", &linode.Server{Scopes: map[string]string{reads: "linodes:read_only events:read_only"}}, reads, 200, 401},
		{"may write", &linode.Server{Scopes: map[string]string{writes: "linodes:read_write"}}, writes, 200, 200},
		{"may do something else", &linode.Server{Scopes: map[string]string{writes: "images:read_write,domains:*"}}, writes, 401, 401},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			ctx, s := t.Context(), test.server
			s.Limits = linode.Unlimited()
			web := httptest.NewServer(s)
			t.Cleanup(web.Close)
			api := client(web.URL, test.token)
			_, err := api.ListInstances(ctx, nil)
			if got := status(err); got != test.want {
				t.Errorf("list: status %d, error %v, want %d", got, err, test.want)
			}
			_, err = api.CreateInstance(ctx, node("sg1"))
			if got := status(err); got != test.create {
				t.Errorf("create: status %d, error %v, want %d", got, err, test.create)
			}
		})
	}
}

func TestRegionsNeedNoToken(t *testing.T) {
	url := serveRaw(t, &linode.Server{})
	if status, _ := get(t, url+"/v4/regions", ""); status != http.StatusOK {
		t.Errorf("status %d", status)
	}
}

func status(err error) int {
	var e *linodego.Error
	switch {
	case err == nil:
		return http.StatusOK
	case errors.As(err, &e):
		return e.Code
	}
	return 0
}

// serveRaw starts s alone and returns its address.
func serveRaw(t *testing.T, handler http.Handler) string {
	t.Helper()
	web := httptest.NewServer(handler)
	t.Cleanup(web.Close)
	return web.URL
}

// get returns the answer's status and header.
func get(t *testing.T, url, token string) (int, http.Header) {
	t.Helper()
	r, err := http.NewRequestWithContext(t.Context(), http.MethodGet, url, nil)
	if err != nil {
		t.Fatal(err)
	}
	if token != "" {
		r.Header.Set("Authorization", "Bearer "+token)
	}
	response, err := http.DefaultClient.Do(r)
	if err != nil {
		t.Fatal(err)
	}
	if err := response.Body.Close(); err != nil {
		t.Fatal(err)
	}
	return response.StatusCode, response.Header
}
