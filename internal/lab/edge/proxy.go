package edge

import (
	"context"
	"crypto/rand"
	"encoding/hex"
	"io"
	"log/slog"
	"net"
	"net/http"
	"net/http/httputil"
	"strconv"
	"strings"
	"sync"

	"github.com/atollhq/terraform-provider-atoll/internal/lab/cloudflare"
)

// exchange is a request on its way through the edge.
type exchange struct {
	served served
	client client
	// original is the client's request, as it came in.
	original *http.Request
	// at is the endpoint of the attempt that is under way.
	at endpoint
}

type exchangeKey struct{}

// ServeHTTP implements [http.Handler].
func (e *Edge) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	e.start() //nolint:contextcheck // the monitors outlive the request
	w.Header().Set("Server", "cloudflare")
	w.Header().Set("Cf-Ray", rayID()+"-LAB")
	host := r.Host
	if name, _, err := net.SplitHostPort(host); err == nil {
		host = name
	}
	who, ok := e.lookup(host)
	if !ok {
		refuse(w, http.StatusConflict, codeNotServed)
		return
	}
	x := &exchange{served: who, original: r, client: client{
		address: hostOf(r.RemoteAddr), region: e.Region, country: e.Country,
	}}
	for header, field := range map[string]*string{RegionHeader: &x.client.region, CountryHeader: &x.client.country} {
		if said := r.Header.Get(header); said != "" {
			*field = strings.ToUpper(said)
		}
	}
	e.proxy.ServeHTTP(w, r.WithContext(context.WithValue(r.Context(), exchangeKey{}, x)))
}

func rayID() string {
	var b [8]byte
	_, _ = rand.Read(b[:]) // it never fails
	return hex.EncodeToString(b[:])
}

func hostOf(address string) string {
	host, _, err := net.SplitHostPort(address)
	if err != nil {
		return address
	}
	return host
}

func (e *Edge) newProxy() *httputil.ReverseProxy {
	return &httputil.ReverseProxy{
		Rewrite: func(r *httputil.ProxyRequest) {
			x := r.In.Context().Value(exchangeKey{}).(*exchange) //nolint:forcetypeassert // ServeHTTP put it there
			scheme := "http"
			if r.In.TLS != nil {
				scheme = "https"
			}
			r.Out.URL.Scheme = scheme
			r.Out.URL.Host = "endpoint.invalid" // the transport chooses
			r.Out.Host = r.In.Host
			r.SetXForwarded()
			header := r.Out.Header
			header.Set("Cf-Connecting-Ip", x.client.address)
			header.Set("Cf-Ipcountry", x.client.country)
			header.Set("Cf-Visitor", `{"scheme":"`+scheme+`"}`)
			header.Set("Cdn-Loop", "cloudflare; loops=1")
			header.Del(RegionHeader)
			header.Del(CountryHeader)
		},
		Transport:    roundTripper{e},
		ErrorHandler: e.answerFailure,
		ModifyResponse: func(r *http.Response) error {
			// The edge has set its own.
			for _, name := range []string{"Server", "Cf-Ray"} {
				r.Header.Del(name)
			}
			r.Header.Set("Cf-Cache-Status", "DYNAMIC")
			return nil
		},
		FlushInterval: -1,
		// What goes wrong is in the answer.
		ErrorLog: slog.NewLogLogger(slog.DiscardHandler, slog.LevelInfo),
	}
}

func (e *Edge) answerFailure(w http.ResponseWriter, r *http.Request, err error) {
	if r.Context().Err() != nil {
		panic(http.ErrAbortHandler) // the client has gone
	}
	status := statusOf(err)
	x, _ := r.Context().Value(exchangeKey{}).(*exchange)
	place := ""
	if x != nil && x.at.origin.Address != "" {
		k := x.at.key()
		place = k.place()
	}
	e.Log.Info("request failed", "host", r.Host, "endpoint", place, "status", status, "error", err)
	if status == statusOriginDNS {
		refuse(w, status, codeOriginDNS)
		return
	}
	refuse(w, status, status)
}

// roundTripper sends a request to the endpoint that it chooses, and once more to another one where the vendor does.
type roundTripper struct{ edge *Edge }

// RoundTrip implements [http.RoundTripper].
func (t roundTripper) RoundTrip(r *http.Request) (*http.Response, error) {
	e := t.edge
	x := r.Context().Value(exchangeKey{}).(*exchange) //nolint:forcetypeassert // ServeHTTP put it there
	b := x.served.balancer
	pinned, moved := false, false
	if b == nil {
		x.at = endpoint{*x.served.records, e.arrange(x.served.records, x.served.records.Origins, x.client, false)[0]}
	} else {
		var ok bool
		if x.at, pinned = e.pinned(b, x.original); !pinned {
			if x.at, ok = e.pick(b, x.client); !ok {
				return nil, errNowhere
			}
		}
	}
	body := &keptBody{ReadCloser: r.Body}
	if r.Body != nil && r.Body != http.NoBody {
		r.Body = body
	}
	response, err := e.send(r, &x.at)
	failover := "none"
	if b != nil {
		failover = b.SessionAffinityAttributes.ZeroDowntimeFailover
	}
	if err != nil && mayRetry(err) && !body.used() && (!pinned || failover != "none") && r.Context().Err() == nil {
		if second, ok := e.another(b, &x.at, x.client); ok {
			k, next := x.at.key(), second.key()
			e.Log.Info("trying another endpoint", "host", r.Host, "endpoint", k.place(), "next", next.place(), "error", err)
			x.at, moved = second, true
			response, err = e.send(r, &x.at)
		}
	}
	if err != nil {
		return nil, err
	}
	// A session that moved for a moment only goes back to its endpoint.
	if b != nil && (!pinned || moved && failover == "sticky") {
		e.stick(b, x.original, response.Header, &x.at)
	}
	return response, nil
}

// send makes one attempt.
func (e *Edge) send(r *http.Request, at *endpoint) (*http.Response, error) {
	address, err := e.resolve(at.origin.Address)
	if err != nil {
		return nil, err
	}
	out := r.Clone(r.Context())
	port := at.origin.Port
	switch {
	case port != 0:
	case out.URL.Scheme == "https":
		port = e.TLSPort
	default:
		port = e.Port
	}
	out.URL.Host = net.JoinHostPort(address, strconv.Itoa(port))
	if host := hostHeader(&at.origin); host != "" {
		out.Host = host
	}
	done := e.begin(at)
	transport := e.transport
	if out.URL.Scheme == "https" {
		transport = e.secureTransport(hostOf(out.Host))
	}
	response, err := transport.RoundTrip(out)
	if err != nil {
		done()
		return nil, err
	}
	response.Body = watchBody(response.Body, done)
	return response, nil
}

func pendingName(k key) string { return k.pool + " " + k.place() }

// begin counts a request under way; done ends it and may be called more than once.
func (e *Edge) begin(at *endpoint) (done func()) {
	names := []string{at.pool.ID, pendingName(at.key())}
	e.mu.Lock()
	defer e.mu.Unlock()
	for _, name := range names {
		e.pending[name]++
	}
	return sync.OnceFunc(func() {
		e.mu.Lock()
		defer e.mu.Unlock()
		for _, name := range names {
			if e.pending[name]--; e.pending[name] == 0 {
				delete(e.pending, name)
			}
		}
	})
}

// connect dials for the transport.
func (e *Edge) connect(ctx context.Context, network, address string) (net.Conn, error) {
	ctx, cancel := context.WithTimeout(ctx, e.Patience.Connect)
	defer cancel()
	conn, err := e.Dial(ctx, network, address)
	if err != nil {
		return nil, dialError{err}
	}
	giveUp(conn, e.Patience.Acknowledge)
	return conn, nil
}

// keptBody remembers whether a request's body was begun, and stays open for another attempt.
type keptBody struct {
	io.ReadCloser
	mu    sync.Mutex
	begun bool
}

// Read implements [io.Reader].
func (b *keptBody) Read(into []byte) (int, error) {
	b.mu.Lock()
	b.begun = true
	b.mu.Unlock()
	return b.ReadCloser.Read(into)
}

// Close implements [io.Closer]. The server closes the client's body itself.
func (b *keptBody) Close() error { return nil }

func (b *keptBody) used() bool {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.begun
}

// watchBody calls done when an answer's body ends: when its last byte was read, so that whoever has the whole answer finds
// it counted off, or when it is closed. A body that can be written to, which is the connection of an upgraded protocol,
// stays one.
func watchBody(body io.ReadCloser, done func()) io.ReadCloser {
	watched := &watchedBody{body, done}
	if writer, ok := body.(io.Writer); ok {
		return struct {
			*watchedBody
			io.Writer
		}{watched, writer}
	}
	return watched
}

type watchedBody struct {
	body io.ReadCloser
	done func()
}

// Read implements [io.Reader].
func (b *watchedBody) Read(into []byte) (int, error) {
	n, err := b.body.Read(into)
	if err != nil {
		b.done()
	}
	return n, err
}

// Close implements [io.Closer].
func (b *watchedBody) Close() error {
	b.done()
	return b.body.Close()
}

var _ cloudflare.Health = (*Edge)(nil)
