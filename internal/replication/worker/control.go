package worker

import (
	"bufio"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"net"
	"net/http"
	"os"
	"slices"
	"strings"
	"time"

	"github.com/atollhq/terraform-provider-atoll/internal/replication"
	"github.com/atollhq/terraform-provider-atoll/internal/spec"
)

// conn is a stream to the other node.
type conn = io.ReadWriteCloser

const (
	// upgrade is what a connection to the control socket becomes for a stream (RFC 9110 §7.8).
	upgrade = "atoll-pair-stream"
	// dialWithin is how long an agent may take to open a stream that it has offered.
	dialWithin = 20 * time.Second
	// ready is what an agent writes first when it has opened the stream; anything else is why it could not.
	ready = "ready"
)

// listen serves the control socket until the function that it returns is called.
func (w *worker) listen(ctx context.Context) (closeAll func(), err error) {
	if err := os.MkdirAll(w.cfg.RunDir, 0o711); err != nil {
		return nil, err
	}
	listener, err := ListenUnix(ctx, w.cfg.ControlSocket(), Account{UID: os.Getuid(), GID: os.Getgid()})
	if err != nil {
		return nil, err
	}
	mux := http.NewServeMux()
	mux.HandleFunc("GET /status", w.serveStatus)
	mux.HandleFunc("POST /canary", w.serveCanary)
	mux.HandleFunc("GET /canaries", w.serveCanaries)
	mux.HandleFunc("POST /digest", w.serveDigest)
	mux.HandleFunc("POST /snapshot", w.serveSnapshot)
	mux.HandleFunc("GET /directory", w.serveDirectory)
	mux.HandleFunc("POST /turn", w.serveTurn)
	mux.HandleFunc("POST /offer", w.serveOffer)
	mux.HandleFunc("POST /stream", w.serveStream)
	mux.HandleFunc("POST /cold/offer", w.serveOfferCold)
	mux.HandleFunc("POST /cold/stream", w.serveCold)
	mux.HandleFunc("POST /cold/permit", w.servePermit)
	return serve(ctx, mux, listener, func(err error) { w.log.Error("the control socket is closed", "error", err) }), nil
}

// serve answers at a socket until the function that it returns is called; failed is told why it cannot any more.
func serve(ctx context.Context, handler http.Handler, listener *net.UnixListener, failed func(error)) (closeAll func()) {
	server := &http.Server{Handler: handler, ReadHeaderTimeout: 10 * time.Second, BaseContext: func(net.Listener) context.Context { return ctx }}
	go func() {
		if err := server.Serve(listener); !errors.Is(err, http.ErrServerClosed) {
			failed(err)
		}
	}()
	return func() {
		_ = server.Close()
		// A server that has not begun yet closes it when it does: its name, which goes with it, may be another's by then.
		_ = listener.Close()
	}
}

// ListenUnix listens at a Unix socket that only one account may connect to. What an earlier process left in its place is removed.
func ListenUnix(ctx context.Context, path string, a Account) (*net.UnixListener, error) {
	if err := os.Remove(path); err != nil && !errors.Is(err, fs.ErrNotExist) {
		return nil, err
	}
	var config net.ListenConfig
	listener, err := config.Listen(ctx, "unix", path)
	if err != nil {
		return nil, err
	}
	unix, ok := listener.(*net.UnixListener)
	if !ok {
		return nil, errors.Join(fmt.Errorf("listen at %s: not a Unix socket", path), listener.Close())
	}
	// Until then the unit's umask keeps others out: to connect is to write (unix(7)).
	if err := errors.Join(os.Chmod(path, 0o600), os.Chown(path, a.UID, a.GID)); err != nil {
		return nil, errors.Join(err, unix.Close())
	}
	return unix, nil
}

func answer(rw http.ResponseWriter, value any) {
	rw.Header().Set("Content-Type", "application/json")
	_ = json.NewEncoder(rw).Encode(value) // whoever asked is gone
}

func (w *worker) serveStatus(rw http.ResponseWriter, _ *http.Request) { answer(rw, w.status()) }

func (w *worker) status() replication.Status {
	engine, watcher := w.shown.get()
	s := replication.Status{Started: w.board.started, Conflicts: w.shown.conflicts()}
	if engine != nil {
		s.Pending = engine.Pending()
	}
	if watcher != nil {
		s.Watching = string(watcher.Status().Method)
	}
	s.State, s.Synced, s.Problem = w.board.status(w.cfg.Leads, s.Pending)
	w.board.set(func() { s.Short, s.Resting = w.board.failing.Short, w.board.resting })
	if w.cfg.Alternates && !w.cfg.Leads {
		s.Resting = w.turn.rests()
	}
	s.Full, s.Warning = full(w.cfg.Path), w.pressure.warning(time.Now())
	if s.State == spec.PairDisconnected && w.mover.rests() {
		s.State = spec.PairSyncing
	}
	s.Cold = w.mover.said()
	s.Carried, s.Changed, s.Round = w.carried.said(), w.carried.lastChange(), time.Duration(w.carried.round.Load())
	if s.After = w.after.status(); s.After != nil {
		s.Warning = strings.Join(slices.DeleteFunc([]string{s.Warning, w.after.warning()}, func(text string) bool { return text == "" }), "; ")
	}
	return s
}

// stream returns the next stream to the other side: on the leader's it is asked for, on the other one waited for.
func (w *worker) stream(ctx context.Context) (conn, error) {
	if !w.cfg.Leads {
		select {
		case s := <-w.streams:
			return s, nil
		case <-ctx.Done():
			return nil, ctx.Err()
		}
	}
	stream, err := takeOffer(ctx, w.offers)
	if err != nil {
		return nil, err // a nil stream is not none
	}
	return stream, nil
}

// takeOffer takes the next stream that an agent offers to open.
func takeOffer(ctx context.Context, offers <-chan *offer) (*taken, error) {
	select {
	case o := <-offers:
		close(o.wanted)
		select {
		case r := <-o.result:
			return r.stream, r.err
		case <-ctx.Done():
			return nil, ctx.Err()
		}
	case <-ctx.Done():
		return nil, ctx.Err()
	}
}

// offer is an agent that waits to open a stream.
type offer struct {
	wanted chan struct{}
	result chan offered
}

type offered struct {
	stream *taken
	err    error
}

func (w *worker) serveOffer(rw http.ResponseWriter, r *http.Request) {
	if !w.cfg.Leads {
		http.Error(rw, "this node does not lead the pair", http.StatusConflict)
		return
	}
	w.offered(rw, r, w.offers)
}

// offered makes a request a stream as soon as somebody wants one.
func (*worker) offered(rw http.ResponseWriter, r *http.Request, offers chan<- *offer) {
	o := &offer{wanted: make(chan struct{}), result: make(chan offered, 1)}
	select {
	case offers <- o:
	case <-r.Context().Done():
		return
	}
	<-o.wanted
	stream, err := takeOver(rw)
	if err == nil {
		stream, err = opened(stream)
	}
	o.result <- offered{stream, err}
}

// opened waits until the agent has opened the stream that it offered.
func opened(stream *taken) (*taken, error) {
	line, err := func() (string, error) {
		if err := stream.SetReadDeadline(time.Now().Add(dialWithin)); err != nil {
			return "", err
		}
		line, err := stream.buffered.ReadString('\n')
		return strings.TrimSpace(line), errors.Join(err, stream.SetReadDeadline(time.Time{}))
	}()
	if err == nil && line != ready {
		err = errors.New(line)
	}
	if err != nil {
		_ = stream.Close()
		return nil, err
	}
	return stream, nil
}

func (w *worker) serveStream(rw http.ResponseWriter, r *http.Request) {
	if w.cfg.Leads {
		http.Error(rw, "this node leads the pair", http.StatusConflict)
		return
	}
	problem := w.board.refuses()
	if engine, _ := w.shown.get(); problem == "" && engine == nil {
		problem = "it is starting"
	}
	if problem != "" {
		http.Error(rw, problem, http.StatusServiceUnavailable)
		return
	}
	stream, err := takeOver(rw)
	if err != nil {
		return
	}
	select {
	case w.streams <- stream:
	case <-r.Context().Done():
		_ = stream.Close()
	}
}

// taken is a connection that speaks HTTP no more, whose first bytes may have been read already.
type taken struct {
	net.Conn
	buffered *bufio.Reader
}

// Read implements io.Reader.
func (t *taken) Read(p []byte) (int, error) { return t.buffered.Read(p) }

// takeOver makes a request's connection a stream.
func takeOver(rw http.ResponseWriter) (*taken, error) {
	c, buffered, err := http.NewResponseController(rw).Hijack()
	if err != nil {
		http.Error(rw, err.Error(), http.StatusInternalServerError)
		return nil, err
	}
	_, err = fmt.Fprintf(c, "HTTP/1.1 101 Switching Protocols\r\nConnection: Upgrade\r\nUpgrade: %s\r\n\r\n", upgrade)
	if err := errors.Join(err, c.SetDeadline(time.Time{})); err != nil {
		return nil, errors.Join(err, c.Close())
	}
	return &taken{Conn: c, buffered: buffered.Reader}, nil
}
