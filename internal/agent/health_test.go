package agent_test

import (
	"context"
	"encoding/base64"
	"fmt"
	"io"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/atollhq/terraform-provider-atoll/internal/spec"
)

func (m *machine) httpHealth(method, path string) (code int, body string) {
	m.w.t.Helper()
	url := fmt.Sprintf("http://%s:%d%s", m.public(), spec.DefaultPorts().Health, path)
	req, err := http.NewRequestWithContext(context.WithoutCancel(m.w.t.Context()), method, url, http.NoBody)
	if err != nil {
		m.w.t.Fatal(err)
	}
	resp, err := http.DefaultClient.Do(req)
	if err != nil {
		m.w.t.Fatal(err)
	}
	defer func() { _ = resp.Body.Close() }()
	data, err := io.ReadAll(resp.Body)
	if err != nil {
		m.w.t.Fatal(err)
	}
	return resp.StatusCode, string(data)
}

func TestHealthEndpoint(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	m := w.machine(1, "hk1")
	m.start()
	m.waitHealth("waits", func(h healthOf) bool { return waiting(h) && len(h.Parts) > 0 })
	if code, body := m.httpHealth(http.MethodGet, "/health"); code != http.StatusServiceUnavailable || !strings.Contains(body, "no first-boot data") {
		t.Errorf("waiting: got %d %s, want 503 and why", code, body)
	}
	ticket := m.ticket(ticketFor{})
	m.provision(m.payload(ticket, m.node("")))
	m.waitHealth("is fit", healthy)
	tests := []struct {
		method, path string
		want         int
	}{
		{http.MethodGet, "/health", http.StatusOK},
		{http.MethodHead, "/health", http.StatusOK},
		{http.MethodGet, "/", http.StatusNotFound},
		{http.MethodGet, "/v1/info", http.StatusNotFound},
		{http.MethodGet, "/health/", http.StatusNotFound},
		{http.MethodPost, "/health", http.StatusMethodNotAllowed},
		{http.MethodDelete, "/health", http.StatusMethodNotAllowed},
	}
	for _, tt := range tests {
		if code, body := m.httpHealth(tt.method, tt.path); code != tt.want {
			t.Errorf("%s %s: got %d %s, want %d", tt.method, tt.path, code, body, tt.want)
		}
	}
	// Neither what anybody may read nor what the agent keeps holds the ticket's key.
	_, body := m.httpHealth(http.MethodGet, "/health")
	secret := base64.StdEncoding.EncodeToString(ticket.Key)
	if strings.Contains(body, secret) {
		t.Error("the health endpoint shows the ticket's key")
	}
	err := filepath.Walk(m.root, func(path string, info os.FileInfo, err error) error {
		if err != nil || info.IsDir() {
			return err
		}
		data, err := os.ReadFile(path)
		if strings.Contains(string(data), secret) {
			t.Errorf("%s holds the used ticket's key", path)
		}
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
}
