package api

import (
	"crypto/tls"
	"encoding/json"
	"errors"
	"fmt"
	"log/slog"
	"net/http"
	"strconv"
	"time"

	"github.com/atollhq/terraform-provider-atoll/internal/spec"
	"github.com/atollhq/terraform-provider-atoll/internal/trust"
)

// NewServer returns an HTTPS server of handler with limits on how slow a caller may be. Serve it with
// ServeTLS(listener, "", "").
func NewServer(config *tls.Config, handler http.Handler, log *slog.Logger) *http.Server {
	return &http.Server{
		Handler:           handler,
		TLSConfig:         config,
		ReadHeaderTimeout: 10 * time.Second,
		ReadTimeout:       30 * time.Second,
		WriteTimeout:      60 * time.Second,
		IdleTimeout:       90 * time.Second,
		MaxHeaderBytes:    64 << 10,
		// Anybody can knock at a public port; that is worth no more than debug.
		ErrorLog: slog.NewLogLogger(log.Handler(), slog.LevelDebug),
	}
}

// NewHandler returns the API of an agent of root's cluster. It serves only connections that were made with
// trust.ServerTLS; every caller is the operator or an admitted node. Now is the node's clock.
func NewHandler(root trust.Root, b Backend, now func() time.Time) http.Handler {
	h := &handler{root: root, backend: b, now: now}
	mux := http.NewServeMux()
	mux.HandleFunc("GET /v1/info", h.anybody(h.info))
	mux.HandleFunc("GET /v1/status", h.anybody(h.status))
	mux.HandleFunc("GET /v1/records", h.anybody(h.records))
	mux.HandleFunc("PUT /v1/records", h.anybody(h.push))
	mux.HandleFunc("POST /v1/sync", h.anybody(h.sync))
	mux.HandleFunc("POST /v1/leave", h.operator(h.leave))
	if c, ok := b.(Certifier); ok {
		mux.HandleFunc("POST /v1/certificate-request", h.operator(h.certificateRequest(c)))
	}
	if s, ok := b.(Switcher); ok {
		mux.HandleFunc("POST /v1/databases/{name}/switchover", h.operator(h.switchover(s)))
		mux.HandleFunc("GET /v1/databases/{name}/switchover", h.operator(h.switchoverCheck(s)))
	}
	if s, ok := b.(Streamer); ok {
		mux.HandleFunc("POST /v1/pairs/{name}/stream", h.anybody(h.stream(s.Stream)))
		mux.HandleFunc("GET /v1/pairs/{name}/canary", h.anybody(h.canary(s)))
	}
	if s, ok := b.(ColdStreamer); ok {
		mux.HandleFunc("POST /v1/pairs/{name}/cold", h.anybody(h.stream(s.ColdStream)))
	}
	if d, ok := b.(Digester); ok {
		mux.HandleFunc("POST /v1/pairs/{name}/digest", h.operator(h.digest(d)))
		mux.HandleFunc("GET /v1/pairs/{name}/directory", h.operator(h.directory(d)))
	}
	if s, ok := b.(Snapshotter); ok {
		mux.HandleFunc("POST /v1/pairs/{name}/snapshot", h.operator(h.snapshot(s)))
	}
	if p, ok := b.(Placer); ok {
		mux.HandleFunc("GET /v1/place", h.operator(h.place(p)))
	}
	if r, ok := b.(Relayer); ok {
		mux.HandleFunc("POST /v1/relay/{node}", h.operator(h.relay(r)))
	}
	mux.HandleFunc("/", h.anybody(func(w http.ResponseWriter, r *http.Request, _ trust.Caller) {
		fail(w, &Error{StatusCode: http.StatusNotFound, Reason: ReasonNotFound, Message: fmt.Sprintf("this agent has no %s %s", r.Method, r.URL.Path)})
	}))
	return mux
}

type handler struct {
	root    trust.Root
	backend Backend
	now     func() time.Time
}

// anybody serves the operator and admitted nodes.
func (h *handler) anybody(serve func(http.ResponseWriter, *http.Request, trust.Caller)) http.HandlerFunc {
	return func(w http.ResponseWriter, r *http.Request) {
		caller, err := h.caller(r)
		if err != nil {
			fail(w, err)
			return
		}
		serve(w, r, caller)
	}
}

// operator serves the operator alone.
func (h *handler) operator(serve func(http.ResponseWriter, *http.Request, trust.Caller)) http.HandlerFunc {
	return h.anybody(func(w http.ResponseWriter, r *http.Request, caller trust.Caller) {
		if !caller.Operator {
			fail(w, &Error{
				StatusCode: http.StatusForbidden, Reason: trust.ReasonNotAllowed,
				Message: fmt.Sprintf("only the operator may %s %s, not node %q", r.Method, r.URL.Path, caller.Node),
			})
			return
		}
		serve(w, r, caller)
	})
}

// caller returns who calls, if that is somebody who may.
func (h *handler) caller(r *http.Request) (trust.Caller, error) {
	if r.TLS == nil {
		return trust.Caller{}, &Error{StatusCode: http.StatusForbidden, Reason: trust.ReasonNotAllowed, Message: "this connection is not TLS"}
	}
	caller, err := h.root.CallerFromState(*r.TLS, h.now())
	if err != nil {
		return trust.Caller{}, &Error{StatusCode: http.StatusForbidden, Reason: trust.ReasonOf(err), Message: err.Error()}
	}
	// A missing header is version 1, which came before there was a second.
	if text := r.Header.Get(WireHeader); text != "" {
		if wire, err := strconv.Atoi(text); err != nil || wire > spec.WireVersion || wire < 1 {
			return trust.Caller{}, &Error{
				StatusCode: http.StatusUpgradeRequired, Reason: trust.ReasonUnknownWireVersion,
				Message: fmt.Sprintf("the caller speaks wire version %.20q, this agent up to %d; update the agent, or use the older provider meanwhile", text, spec.WireVersion),
			}
		}
	}
	if caller.Operator {
		return caller, nil
	}
	if evidence, err := h.backend.Admit(*caller.Member); err != nil {
		return trust.Caller{}, &Error{StatusCode: http.StatusForbidden, Reason: trust.ReasonOf(err), Message: err.Error(), Records: evidence}
	}
	h.backend.Called(caller.Node, r.Header.Get(BootHeader))
	return caller, nil
}

func (h *handler) info(w http.ResponseWriter, _ *http.Request, _ trust.Caller) {
	reply(w, h.backend.Info())
}

func (h *handler) status(w http.ResponseWriter, _ *http.Request, _ trust.Caller) {
	reply(w, h.backend.Status())
}

func (h *handler) records(w http.ResponseWriter, _ *http.Request, _ trust.Caller) {
	reply(w, recordsBody{Records: h.backend.Records()})
}

func (h *handler) push(w http.ResponseWriter, r *http.Request, caller trust.Caller) {
	var body recordsBody
	if !read(w, r, &body) {
		return
	}
	out := h.backend.Push(caller, body.Records)
	h.backend.Wake()
	reply(w, outcomesBody{Outcomes: out})
}

func (h *handler) sync(w http.ResponseWriter, r *http.Request, _ trust.Caller) {
	var body syncRequest
	if !read(w, r, &body) {
		return
	}
	newer, wanted := h.backend.Sync(body.Digest)
	reply(w, syncBody{Newer: newer, Wanted: wanted})
}

func (h *handler) leave(w http.ResponseWriter, r *http.Request, _ trust.Caller) {
	if err := h.backend.Leave(r.Context()); err != nil {
		fail(w, fmt.Errorf("leave the cluster: %w", err))
		return
	}
	w.Header().Set(WireHeader, strconv.Itoa(spec.WireVersion))
	w.WriteHeader(http.StatusAccepted)
}

// read decodes a request's body and answers the caller when it cannot. Unknown fields are ignored: within one wire version
// only what may be ignored is added.
func read(w http.ResponseWriter, r *http.Request, into any) bool {
	err := json.NewDecoder(http.MaxBytesReader(w, r.Body, MaxBody)).Decode(into)
	if err == nil {
		return true
	}
	var tooLarge *http.MaxBytesError
	if errors.As(err, &tooLarge) {
		fail(w, &Error{StatusCode: http.StatusRequestEntityTooLarge, Reason: ReasonTooLarge, Message: fmt.Sprintf("the body is larger than %d bytes; send it in parts", MaxBody)})
		return false
	}
	fail(w, &Error{StatusCode: http.StatusBadRequest, Reason: trust.ReasonMalformed, Message: fmt.Sprintf("the body cannot be read: %v", err)})
	return false
}

func reply(w http.ResponseWriter, body any) { write(w, http.StatusOK, body) }

func fail(w http.ResponseWriter, err error) {
	var e *Error
	if !errors.As(err, &e) {
		e = &Error{StatusCode: http.StatusInternalServerError, Reason: ReasonInternal, Message: err.Error()}
		if reason := trust.ReasonOf(err); reason != "" {
			e.Reason = reason
		}
	}
	write(w, e.StatusCode, errorBody{Error: e})
}

func write(w http.ResponseWriter, code int, body any) {
	data, err := json.Marshal(body)
	if err != nil {
		code, data = http.StatusInternalServerError, []byte(`{"error":{"reason":"Internal","message":"the answer cannot be encoded"}}`)
	}
	w.Header().Set("Content-Type", "application/json")
	w.Header().Set(WireHeader, strconv.Itoa(spec.WireVersion))
	w.WriteHeader(code)
	// The caller may be gone; there is nobody left to tell.
	_, _ = w.Write(data)
}
