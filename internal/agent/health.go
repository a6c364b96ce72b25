package agent

import (
	"encoding/json"
	"net/http"
	"strings"
	"time"

	"github.com/atollhq/terraform-provider-atoll/internal/api"
)

// healthServer answers GET /health and /health/HOSTNAME to anybody, and nothing else. It shows no secret and takes no input
// but the hostname, so it may stand on a public address. Its zero value answers nothing; set state before listening.
type healthServer struct {
	// current returns what to answer, currentFor what to answer of a load balancer and whether the node belongs to it.
	current    func() api.Health
	currentFor func(hostname string) (h api.Health, known bool)

	plainServer
}

// ServeHTTP implements http.Handler.
func (h *healthServer) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	hostname := ""
	if r.URL.Path != api.HealthPath {
		var ofBalancer bool
		if hostname, ofBalancer = strings.CutPrefix(r.URL.Path, api.HealthPath+"/"); !ofBalancer || hostname == "" {
			http.NotFound(w, r)
			return
		}
	}
	if r.Method != http.MethodGet && r.Method != http.MethodHead {
		w.Header().Set("Allow", "GET, HEAD")
		http.Error(w, "only GET", http.StatusMethodNotAllowed)
		return
	}
	health, known := h.of(hostname)
	if !known {
		http.Error(w, "this node belongs to no load balancer of that name", http.StatusNotFound)
		return
	}
	body, err := json.MarshalIndent(health, "", "  ")
	if err != nil {
		http.Error(w, "health cannot be written", http.StatusInternalServerError)
		return
	}
	w.Header().Set("Content-Type", "application/json")
	w.Header().Set("Cache-Control", "no-store")
	if !health.Healthy {
		w.WriteHeader(http.StatusServiceUnavailable)
	}
	// The caller may be gone; there is nobody to tell.
	_, _ = w.Write(append(body, '\n'))
}

// of returns what to answer of a hostname, "" for the node itself.
func (h *healthServer) of(hostname string) (health api.Health, known bool) {
	if hostname == "" {
		return h.current(), true
	}
	return h.currentFor(strings.ToLower(hostname))
}

// newServer returns a server whose limits suit strangers.
func (h *healthServer) newServer() *http.Server {
	return &http.Server{
		Handler:           h,
		ReadHeaderTimeout: 2 * time.Second,
		ReadTimeout:       2 * time.Second,
		WriteTimeout:      5 * time.Second,
		IdleTimeout:       10 * time.Second,
		MaxHeaderBytes:    4 << 10,
	}
}
