package wireguard_test

import (
	"context"
	"fmt"
	"log/slog"
	"os"
	"os/signal"
	"syscall"
	"testing"

	"github.com/atollhq/terraform-provider-atoll/internal/host"
	"github.com/atollhq/terraform-provider-atoll/internal/mesh"
	"github.com/atollhq/terraform-provider-atoll/internal/mesh/meshtest"
	"github.com/atollhq/terraform-provider-atoll/internal/mesh/wireguard"
	"github.com/atollhq/terraform-provider-atoll/internal/spec"
)

const unit = "atoll-wireguard.service"

// TestMain lets this program be the tunnel too, in the machines that the tests make.
func TestMain(m *testing.M) {
	if len(os.Args) == 2 && os.Args[1] == "wireguard" {
		os.Exit(runTunnel())
	}
	os.Exit(m.Run())
}

func runTunnel() int {
	ctx, stop := signal.NotifyContext(context.Background(), syscall.SIGTERM)
	defer stop()
	log := slog.New(slog.NewTextHandler(os.Stderr, nil))
	if err := syscall.Setpriority(syscall.PRIO_PROCESS, 0, -5); err != nil { // as the unit has it
		log.Warn("no priority", "error", err)
	}
	if err := wireguard.Run(ctx, nil, nil, log); err != nil {
		fmt.Fprintln(os.Stderr, "tunnel:", err)
		return 1
	}
	return 0
}

// newDriver returns a driver whose unit starts this program.
func newDriver(t *testing.T) mesh.New {
	t.Helper()
	program, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	return func(sys host.System, log *slog.Logger) mesh.Driver {
		return wireguard.NewWith(sys, log, wireguard.Options{Program: program})
	}
}

func TestConformance(t *testing.T) {
	meshtest.Require(t)
	meshtest.Run(t, spec.MeshWireGuard, newDriver(t), unit)
}

func TestLoss(t *testing.T) {
	meshtest.Require(t)
	meshtest.Loss(t, spec.MeshWireGuard, newDriver(t))
}

func TestFitting(t *testing.T) {
	meshtest.Require(t)
	meshtest.Fitting(t, spec.MeshWireGuard, newDriver(t))
}
