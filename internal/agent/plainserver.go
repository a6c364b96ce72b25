package agent

import (
	"context"
	"errors"
	"fmt"
	"net"
	"net/http"
	"strconv"
	"sync"
)

// plainServer serves HTTP without TLS on an address that may change. Set what and create before listening; it is safe for concurrent use
// after that.
type plainServer struct {
	// what is how the service is called in errors.
	what string
	// create returns a server that has its handler and its limits.
	create func() *http.Server

	mu     sync.Mutex
	addr   string
	server *http.Server
	// done is closed when the server has given up its port.
	done chan struct{}
}

// listen answers on host:port from now on; the same address again changes nothing.
func (p *plainServer) listen(ctx context.Context, host string, port int) error {
	addr := net.JoinHostPort(host, strconv.Itoa(port))
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.addr == addr {
		return nil
	}
	var lc net.ListenConfig
	listener, err := lc.Listen(ctx, "tcp", addr)
	if err != nil {
		return fmt.Errorf("serve %s: %w", p.what, err)
	}
	server, done := p.create(), make(chan struct{})
	go func() {
		defer close(done)
		// It only ends when the server is closed.
		_ = server.Serve(listener)
	}()
	err = p.closeLocked()
	p.addr, p.server, p.done = addr, server, done
	return err
}

// close ends what listens, if anything does, and calls that are being answered.
func (p *plainServer) close() error {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.closeLocked()
}

func (p *plainServer) closeLocked() error {
	if p.server == nil {
		return nil
	}
	err := p.server.Close()
	<-p.done
	p.server, p.addr = nil, ""
	if errors.Is(err, http.ErrServerClosed) {
		return nil
	}
	return err
}
