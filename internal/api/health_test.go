package api_test

import (
	"errors"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/atollhq/terraform-provider-atoll/internal/api"
)

func TestFetchHealth(t *testing.T) {
	tests := []struct {
		name string
		code int
		body string
		want api.Health
		err  bool
	}{
		{"healthy", http.StatusOK, `{"healthy":true,"state":"joined"}`, api.Health{Healthy: true, State: "joined"}, false},
		{
			"unhealthy", http.StatusServiceUnavailable, `{"healthy":false,"state":"waiting","waiting":"no ticket","parts":{"mesh":"down"}}`,
			api.Health{State: "waiting", Waiting: "no ticket", Parts: map[string]string{"mesh": "down"}},
			false,
		},
		{"somebody else", http.StatusOK, "<html>", api.Health{}, true},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
				if r.URL.Path != api.HealthPath {
					t.Errorf("asked for %s", r.URL.Path)
				}
				w.WriteHeader(tt.code)
				_, _ = w.Write([]byte(tt.body))
			}))
			defer server.Close()
			got, err := api.FetchHealth(t.Context(), strings.TrimPrefix(server.URL, "http://"))
			if (err != nil) != tt.err {
				t.Fatalf("error = %v", err)
			}
			if diff := cmp.Diff(tt.want, got); diff != "" {
				t.Errorf("health (-want +got):\n%s", diff)
			}
		})
	}
	if _, err := api.FetchHealth(t.Context(), closedPort(t)); !errors.Is(err, api.ErrUnreachable) {
		t.Errorf("error = %v, want ErrUnreachable", err)
	}
}
