package inproc_test

import (
	"bytes"
	"context"
	"fmt"
	"log/slog"
	"net"
	"testing"
	"time"

	"github.com/atollhq/terraform-provider-atoll/internal/api"
	"github.com/atollhq/terraform-provider-atoll/internal/lab/await"
	"github.com/atollhq/terraform-provider-atoll/internal/lab/inproc"
)

// TestPortIsTakenForAMoment starts a machine while another process still has its port: the agent begins again, as systemd
// would have it, until the port is free.
func TestPortIsTakenForAMoment(t *testing.T) {
	refused := make(notices, 1)
	machines := &inproc.Machines{Dir: t.TempDir(), Network: 60, Log: slog.New(slog.NewTextHandler(refused, nil))}
	machine, err := machines.New()
	if err != nil {
		t.Fatal(err)
	}
	health := net.JoinHostPort(machine.Address.String(), "7480")
	var lc net.ListenConfig
	other, err := lc.Listen(t.Context(), "tcp", health)
	if err != nil {
		t.Fatal(err)
	}
	machine.Start()
	t.Cleanup(func() {
		if err := machines.Close(); err != nil {
			t.Error(err)
		}
	})
	<-refused
	if err := other.Close(); err != nil {
		t.Fatal(err)
	}
	if _, err := await.Attempt(t.Context(), 20*time.Second, func(ctx context.Context) error {
		said, err := api.FetchHealth(ctx, health)
		if err == nil && said.State != "waiting" {
			err = fmt.Errorf("the machine is %q", said.State)
		}
		return err
	}); err != nil {
		t.Error(err)
	}
}

// notices tells of log lines about an address in use.
type notices chan struct{}

func (n notices) Write(line []byte) (int, error) {
	if bytes.Contains(line, []byte("address already in use")) {
		select {
		case n <- struct{}{}:
		default:
		}
	}
	return len(line), nil
}
