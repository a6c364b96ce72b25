package worker_test

import (
	"errors"
	"net"
	"net/http"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/atollhq/terraform-provider-atoll/internal/replication/worker"
)

// TestStreamAfterAProblem hands streams to a side that has ended a synchronization because of its tree, which may be there again.
func TestStreamAfterAProblem(t *testing.T) {
	taking := worker.NewTaking()
	socket := filepath.Join(t.TempDir(), "sock")
	var config net.ListenConfig
	listener, err := config.Listen(t.Context(), "unix", socket)
	if err != nil {
		t.Fatal(err)
	}
	server := &http.Server{Handler: taking.Handler(), ReadHeaderTimeout: time.Minute}
	go func() { _ = server.Serve(listener) }()
	t.Cleanup(func() { _ = server.Close() })
	client := worker.NewClient(socket, nil)
	// stream returns whether a stream is taken, or why not.
	stream := func() error {
		here, there := net.Pipe()
		ended := make(chan error, 1)
		go func() { ended <- client.Stream(t.Context(), there) }()
		select {
		case taken := <-taking.Streams():
			_ = errors.Join(taken.Close(), here.Close()) // it was taken
			t.Log(<-ended)
			return nil
		case err := <-ended:
			return err
		}
	}
	for range 2 {
		if err := stream(); err != nil {
			t.Fatalf("while all is well: %v", err)
		}
		taking.Links(true)
		taking.Links(false)
		taking.Reports("the tree is not there", true)
		if err := stream(); err != nil {
			t.Errorf("after a synchronization that has ended because of the tree: %v", err)
		}
		taking.Reports("the tree is not there", false)
		if err := stream(); err == nil || !strings.Contains(err.Error(), "the tree is not there") {
			t.Errorf("while the tree is not there: %v", err)
		}
		taking.Links(true)
	}
}
