package worker

import (
	"log/slog"
	"net"
	"net/http"
)

// Taking is the part of a worker that takes streams.
type Taking struct{ w *worker }

// NewTaking is one that works.
func NewTaking() Taking {
	w := &worker{board: &board{}, log: slog.New(slog.DiscardHandler), streams: make(chan net.Conn)}
	w.shown.set(struct{ Engine }{}, nil)
	return Taking{w}
}

// Handler answers whoever has a stream.
func (t Taking) Handler() http.Handler { return http.HandlerFunc(t.w.serveStream) }

// Streams are what is taken.
func (t Taking) Streams() <-chan net.Conn { return t.w.streams }

// Reports has it report a problem, that of a synchronization which has ended or one that lasts.
func (t Taking) Reports(p Problem, passing bool) {
	t.w.report(p)
	t.w.board.set(func() { t.w.board.passing = passing })
}

// Links tells that there is a stream.
func (t Taking) Links(on bool) { t.w.board.link(on) }
