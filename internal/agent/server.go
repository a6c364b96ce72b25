package agent

import (
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"net/http"
	"strconv"
	"sync"
	"time"

	"github.com/atollhq/terraform-provider-atoll/internal/api"
)

// drainPatience is how long calls that are being answered may take when the server moves or ends.
const drainPatience = 5 * time.Second

// apiServer serves the agent's API over TLS on an address that may change. Set handler, tls and log before listening.
type apiServer struct {
	handler http.Handler
	tls     *tls.Config
	log     *slog.Logger

	mu     sync.Mutex
	addr   string
	server *http.Server
	// done is closed when the server has given up its port.
	done chan struct{}
}

// listen serves on host:port from now on; the same address again changes nothing. The old address ends when the new one
// answers, so a port that is taken loses nothing.
func (a *apiServer) listen(ctx context.Context, host string, port int) error {
	addr := net.JoinHostPort(host, strconv.Itoa(port))
	a.mu.Lock()
	defer a.mu.Unlock()
	if a.addr == addr {
		return nil
	}
	var lc net.ListenConfig
	listener, err := lc.Listen(ctx, "tcp", addr)
	if err != nil {
		return fmt.Errorf("serve the API: %w", err)
	}
	server := api.NewServer(a.tls, a.handler, a.log)
	server.ConnContext = markAccepted
	done := make(chan struct{})
	go func() {
		defer close(done)
		if err := server.ServeTLS(listener, "", ""); !errors.Is(err, http.ErrServerClosed) {
			a.log.Error("the API has stopped", "address", addr, "error", err)
		}
	}()
	old, oldDone := a.server, a.done
	a.addr, a.server, a.done = addr, server, done
	a.log.Info("serving the API", "address", addr)
	drain(old, oldDone)
	return nil
}

// close answers what was asked already and ends.
func (a *apiServer) close() {
	a.mu.Lock()
	defer a.mu.Unlock()
	drain(a.server, a.done)
	a.server, a.addr = nil, ""
}

// drain returns when the server's calls are answered and its port is free.
//
//nolint:contextcheck // an end has a patience of its own
func drain(server *http.Server, done <-chan struct{}) {
	if server == nil {
		return
	}
	ctx, cancel := context.WithTimeout(context.Background(), drainPatience)
	defer cancel()
	if server.Shutdown(ctx) != nil {
		// Whoever still waits gets a closed connection and asks again.
		_ = server.Close()
	}
	<-done
}
