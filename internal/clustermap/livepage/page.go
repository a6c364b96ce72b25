// Package livepage serves the map of a cluster as a page that keeps itself up to date, to browsers and to whoever reads its events.
package livepage

import (
	"bytes"
	"context"
	"crypto/sha256"
	"embed"
	"encoding/base64"
	"html/template"
	"log/slog"
	"net"
	"net/http"
	"net/netip"
	"path"
	"strings"
	"time"

	"github.com/atollhq/terraform-provider-atoll/internal/clustermap"
)

//go:embed assets
var assets embed.FS

// Source observes the cluster. It is called by one goroutine at a time.
type Source func(context.Context) (clustermap.Map, error)

// Options are what a page is made of; Source is needed.
type Options struct {
	Source Source
	// Interval is the time from one look at the cluster to the next, 2 s by default. Nobody looks while nobody watches.
	Interval time.Duration
	// Watchers is how many may watch at once, 32 by default; more are asked to come again.
	Watchers int
	// Log may be nil.
	Log *slog.Logger
}

// Page is an http.Handler: "/" is the page, "/map.svg" and "/map.json" are the map as it is now, "/events" is a stream of server-sent
// events (HTML, section 9.2) from which the page keeps itself up to date. All of it is read-only, and the page needs nothing from
// elsewhere. It answers only those who call it by an address or as localhost: a name may be one that some other page has made lead here.
// It is safe for concurrent use.
type Page struct {
	observer *observer
	seats    chan struct{}
	template *template.Template
	policy   string
	mux      *http.ServeMux
}

// New returns a page.
func New(o Options) *Page {
	if o.Interval == 0 {
		o.Interval = 2 * time.Second
	}
	if o.Watchers == 0 {
		o.Watchers = 32
	}
	if o.Log == nil {
		o.Log = slog.New(slog.DiscardHandler)
	}
	p := &Page{
		observer: &observer{source: o.Source, interval: o.Interval, log: o.Log},
		seats:    make(chan struct{}, o.Watchers),
		template: template.Must(template.ParseFS(assets, "assets/page.html")),
		policy: "default-src 'none'; script-src 'self'; connect-src 'self'; img-src 'self'; base-uri 'none'; form-action 'none'; frame-ancestors 'none'; " +
			"style-src 'self' " + hashOf(clustermap.Style()),
		mux: http.NewServeMux(),
	}
	p.mux.HandleFunc("GET /{$}", p.page)
	p.mux.HandleFunc("GET /map.svg", p.picture)
	p.mux.HandleFunc("GET /map.json", p.json)
	p.mux.HandleFunc("GET /events", p.events)
	p.mux.HandleFunc("GET /favicon.ico", func(w http.ResponseWriter, _ *http.Request) { w.WriteHeader(http.StatusNoContent) })
	for _, name := range []string{"page.css", "page.js"} {
		p.mux.HandleFunc("GET /"+name, func(w http.ResponseWriter, r *http.Request) {
			http.ServeFileFS(w, r, assets, path.Join("assets", name))
		})
	}
	return p
}

// hashOf is how a policy names a style sheet that is part of a document (Content Security Policy Level 3, section 2.3.1).
func hashOf(text string) string {
	sum := sha256.Sum256([]byte(text))
	return "'sha256-" + base64.StdEncoding.EncodeToString(sum[:]) + "'"
}

// ServeHTTP implements http.Handler.
func (p *Page) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	h := w.Header()
	h.Set("Content-Security-Policy", p.policy)
	h.Set("X-Content-Type-Options", "nosniff")
	h.Set("Referrer-Policy", "no-referrer")
	h.Set("Cross-Origin-Resource-Policy", "same-origin")
	h.Set("Cache-Control", "no-store")
	if !calledByAddress(r.Host) {
		http.Error(w, "call this page by its address: a name may lead here from anywhere", http.StatusMisdirectedRequest)
		return
	}
	p.mux.ServeHTTP(w, r)
}

func calledByAddress(host string) bool {
	if name, _, err := net.SplitHostPort(host); err == nil {
		host = name
	}
	if strings.EqualFold(host, "localhost") {
		return true
	}
	_, err := netip.ParseAddr(strings.Trim(host, "[]"))
	return err == nil
}

// page shows the map as it is now even where no script runs, and begins to follow it where one does.
func (p *Page) page(w http.ResponseWriter, r *http.Request) {
	s := p.observer.look(r.Context())
	var out bytes.Buffer
	err := p.template.Execute(&out, struct {
		sight
		Picture template.HTML
		Refresh int
	}{s, template.HTML(s.Picture), max(1, int(p.observer.interval/time.Second))}) //nolint:gosec // drawn by this program, all text in it is escaped
	if err != nil {
		http.Error(w, "the page cannot be written: "+err.Error(), http.StatusInternalServerError)
		return
	}
	w.Header().Set("Content-Type", "text/html; charset=utf-8")
	// Whoever asked may be gone; there is nobody to tell.
	_, _ = w.Write(out.Bytes())
}

func (p *Page) picture(w http.ResponseWriter, r *http.Request) {
	p.give(w, r, "image/svg+xml", clustermap.Map.SVG)
}

func (p *Page) json(w http.ResponseWriter, r *http.Request) {
	p.give(w, r, "application/json", clustermap.Map.JSON)
}

func (p *Page) give(w http.ResponseWriter, r *http.Request, kind string, write func(clustermap.Map) ([]byte, error)) {
	s := p.observer.look(r.Context())
	if s.Trouble != "" {
		http.Error(w, s.Trouble, http.StatusBadGateway)
		return
	}
	data, err := write(s.seen)
	if err != nil {
		http.Error(w, err.Error(), http.StatusInternalServerError)
		return
	}
	w.Header().Set("Content-Type", kind)
	_, _ = w.Write(data)
}
