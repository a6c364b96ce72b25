package worker

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
)

// maxAfterResult bounds what is read of a result, in bytes.
const maxAfterResult = 64 << 10

// serve answers whoever runs the command, at a socket of the tree's account, until the function that it returns is called.
func (a *after) serve(ctx context.Context, account Account) (closeAll func(), err error) {
	if a == nil {
		return func() {}, nil
	}
	listener, err := ListenUnix(ctx, a.cfg.AfterSocket(), account)
	if err != nil {
		return nil, err
	}
	mux := http.NewServeMux()
	mux.HandleFunc("POST /next", func(rw http.ResponseWriter, r *http.Request) {
		work, err := a.next(r.Context())
		if err != nil {
			return // whoever asked is gone
		}
		answer(rw, work)
	})
	mux.HandleFunc("POST /end", func(rw http.ResponseWriter, r *http.Request) {
		var result AfterResult
		if err := json.NewDecoder(io.LimitReader(r.Body, maxAfterResult)).Decode(&result); err != nil {
			http.Error(rw, fmt.Sprintf("a result that is none: %v", err), http.StatusBadRequest)
			return
		}
		if err := a.end(result); err != nil {
			http.Error(rw, err.Error(), http.StatusGone)
			return
		}
		answer(rw, struct{}{})
	})
	return serve(ctx, mux, listener, func(err error) {
		a.log.Error("nobody can ask any more for the command after changes", "error", err)
	}), nil
}

// nextWork asks a worker for the command as soon as it is to run.
func (c *Client) nextWork(ctx context.Context) (AfterWork, error) {
	var work AfterWork
	return work, c.send(ctx, http.MethodPost, "/next", nil, &work, maxAnswer)
}

// endWork tells it how that has ended.
func (c *Client) endWork(ctx context.Context, r AfterResult) error {
	text, err := json.Marshal(r)
	if err != nil {
		return err
	}
	var out struct{}
	return c.send(ctx, http.MethodPost, "/end", bytes.NewReader(text), &out, maxAnswer)
}
