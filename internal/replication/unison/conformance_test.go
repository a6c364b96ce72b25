//go:build linux

package unison_test

import (
	"context"
	"flag"
	"fmt"
	"io"
	"log/slog"
	"net"
	"os"
	"os/signal"
	"path/filepath"
	"strconv"
	"syscall"
	"testing"
	"time"

	"github.com/atollhq/terraform-provider-atoll/internal/host/machinetest"
	"github.com/atollhq/terraform-provider-atoll/internal/lab/bare"
	"github.com/atollhq/terraform-provider-atoll/internal/lab/nodes"
	"github.com/atollhq/terraform-provider-atoll/internal/replication"
	"github.com/atollhq/terraform-provider-atoll/internal/replication/cold"
	"github.com/atollhq/terraform-provider-atoll/internal/replication/guard"
	"github.com/atollhq/terraform-provider-atoll/internal/replication/replicationtest"
	"github.com/atollhq/terraform-provider-atoll/internal/replication/unison"
	"github.com/atollhq/terraform-provider-atoll/internal/replication/worker"
)

// TestMain is the worker and what unison starts, too: a unit's command line and a program's name decide.
func TestMain(m *testing.M) {
	ctx, stop := signal.NotifyContext(context.Background(), syscall.SIGINT, syscall.SIGTERM)
	defer stop()
	var run func(context.Context) error
	name := filepath.Base(os.Args[0])
	if other := unison.Programs()[name]; other != nil {
		run = other
	} else if len(os.Args) > 1 && os.Args[1] == "pair" {
		run = pair
	} else if len(os.Args) > 1 && os.Args[1] == "pair-after" {
		run = pairAfter
	}
	if run == nil {
		fewWorlds()
		m.Run()
		return
	}
	err := replicationtest.EndsAtOnce(name == cold.ProgramName || name == guard.Name)
	if err == nil {
		err = run(ctx)
	}
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1) //nolint:gocritic // there is nothing to stop any more
	}
}

// fewWorlds has no more than three tests run in parallel: each has two machines with all that is on them, and bounds to keep.
func fewWorlds() {
	flag.Parse()
	most := flag.Lookup("test.parallel")
	if n, err := strconv.Atoi(most.Value.String()); err != nil || n > 3 {
		_ = most.Value.Set("3") // it is a number
	}
}

// pair is what "atolld pair" does.
func pair(ctx context.Context) error {
	cfg, err := worker.ReadConfig(os.Args[len(os.Args)-1])
	if err != nil {
		return err
	}
	cfg.Pauses = worker.Pauses{Retry: 500 * time.Millisecond, Doubt: 2 * time.Second, Recheck: time.Second, After: 200 * time.Millisecond}
	switch os.Args[2] {
	case "--prepare":
		return worker.Prepare(cfg)
	case "--forget":
		return worker.Forget(cfg, unison.Unfinished(cfg))
	}
	// Machines of namespaces have no journal.
	journal := os.Stderr
	if os.Getenv("JOURNAL_STREAM") == "" {
		if journal, err = os.OpenFile("/run/journal", os.O_WRONLY|os.O_CREATE|os.O_APPEND, 0o600); err != nil {
			return err
		}
		defer func() { _ = journal.Close() }()
		if err := syscall.Dup3(int(journal.Fd()), syscall.Stderr, 0); err != nil { // where a panic goes
			return err
		}
	}
	err = worker.Run(ctx, cfg, unison.NewEngine, slog.New(slog.NewTextHandler(journal, &slog.HandlerOptions{Level: slog.LevelDebug})))
	_, _ = fmt.Fprintln(journal, "ended:", err)
	return err
}

// pairAfter is what "atolld pair-after" does.
func pairAfter(ctx context.Context) error {
	return worker.RunAfter(ctx, os.Args[len(os.Args)-1], slog.New(slog.NewTextHandler(os.Stderr, nil)))
}

// TestConformance runs the suite on machines with a systemd of their own, as nodes are.
func TestConformance(t *testing.T) {
	t.Parallel()
	if err := nodes.Check(); err != nil {
		t.Skipf("NOT RUN: %v", err)
	}
	s := suite()
	s.Attributes = true
	s.Run(t, func(t *testing.T, part string) (lead, back *replicationtest.Machine) {
		lab, err := bare.New(t.Context(), fmt.Sprintf("pair%d%c", os.Getpid(), part[0]), bare.Options{Progress: func(doing string) { t.Log(doing) }})
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() {
			if err := lab.Close(context.WithoutCancel(t.Context())); err != nil {
				t.Error(err)
			}
		})
		return bareMachine(t, lab, "hk1"), bareMachine(t, lab, "sg1")
	})
}

// TestConformanceWithoutSystemd runs the suite on machines of namespaces, with this machine's unison, which may be an older one.
func TestConformanceWithoutSystemd(t *testing.T) {
	t.Parallel()
	machinetest.Require(t, "unison")
	suite().Run(t, func(t *testing.T, _ string) (lead, back *replicationtest.Machine) {
		return newMachine(t, "hk1"), newMachine(t, "sg1")
	})
}

// TestStar has two pairs share a tree.
func TestStar(t *testing.T) {
	machinetest.Require(t, "unison")
	suite().RunStar(t, newMachine(t, "hk1"), newMachine(t, "sg1"), newMachine(t, "hk2"))
}

// TestTurns has two pairs of a machine take turns.
func TestTurns(t *testing.T) {
	machinetest.Require(t, "unison")
	suite().RunTurns(t, newMachine(t, "hk1"), newMachine(t, "hk2"), newMachine(t, "sg1"))
}

func suite() replicationtest.Suite {
	return replicationtest.Suite{
		New: func(t testing.TB, m *replicationtest.Machine) replication.Driver {
			d := unison.NewWith(m.Sys, slog.New(slog.DiscardHandler), unison.Options{Program: program, Dial: m.Dial})
			t.Cleanup(func() { _ = d.Close() })
			return d
		},
		Unit:      func(pair string) string { return "atoll-pair-" + pair + ".service" },
		AfterUnit: worker.AfterUnit,
		CameAhead: "files have come ahead of the first synchronization.* files=[1-9]",
		Ended:     "^ended:",
		Program:   `^unison(-[0-9.+]*)?$`,
		PowerCut: func(pair string) string {
			return `sed -i 's/"boot": "[^"]*"/"boot": "the one before", "unsynced": true/' /var/lib/atoll-pairs/` + pair + `/state.json`
		},
		Knowledge: func(pair string) string { return "/var/lib/atoll-pairs/" + pair + "/home/.unison/ar*" },
	}
}

// program is where this test's program is on its machines.
const program = "/run/atolld"

// bareMachine boots a machine of a lab.
func bareMachine(t *testing.T, lab *bare.Lab, name string) *replicationtest.Machine {
	t.Helper()
	m, err := lab.Add(t.Context(), name)
	if err != nil {
		t.Fatal(err)
	}
	sys, err := m.System()
	if err != nil {
		t.Fatal(err)
	}
	if _, err := m.Run(t.Context(), "mkdir", "-p", "/etc/atoll"); err != nil {
		t.Fatal(err)
	}
	pid, err := m.PID()
	if err != nil {
		t.Fatal(err)
	}
	root := fmt.Sprintf("/proc/%d/root", pid)
	copyProgram(t, filepath.Join(root, program))
	return &replicationtest.Machine{Name: name, Sys: sys, Root: root, Dial: m.Dial, Kill: func(unit string) error {
		_, err := m.Run(context.WithoutCancel(t.Context()), "systemctl", "kill", "--kill-whom=main", "--signal=KILL", unit)
		return err
	}}
}

// newMachine makes a machine with a /var and a /srv of its own.
func newMachine(t testing.TB, name string) *replicationtest.Machine {
	t.Helper()
	m := machinetest.New(t, name)
	m.Run(t, "sh", "-ec", `mkdir -p /etc/atoll /run/.var/upper /run/.var/work
mount -t overlay overlay -o lowerdir=/var,upperdir=/run/.var/upper,workdir=/run/.var/work /var
mount -t tmpfs -o mode=755 tmpfs /srv`)
	root := fmt.Sprintf("/proc/%d/root", m.PID)
	copyProgram(t, filepath.Join(root, program))
	return &replicationtest.Machine{
		Name: name, Sys: m.Sys, Root: root, Kill: m.Sys.Kill,
		Dial: func(ctx context.Context, _, address string) (net.Conn, error) { return m.DialSocket(ctx, address) },
	}
}

func copyProgram(t testing.TB, to string) {
	t.Helper()
	self, err := os.Open("/proc/self/exe")
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = self.Close() }()
	f, err := os.OpenFile(to, os.O_WRONLY|os.O_CREATE, 0o755)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := io.Copy(f, self); err != nil {
		t.Fatal(err)
	}
	if err := f.Close(); err != nil {
		t.Fatal(err)
	}
}
