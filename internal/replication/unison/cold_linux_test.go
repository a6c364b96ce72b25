package unison_test

import (
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/atollhq/terraform-provider-atoll/internal/host"
	"github.com/atollhq/terraform-provider-atoll/internal/host/machinetest"
	"github.com/atollhq/terraform-provider-atoll/internal/lab/await"
	"github.com/atollhq/terraform-provider-atoll/internal/lab/bare"
	"github.com/atollhq/terraform-provider-atoll/internal/lab/nodes"
	"github.com/atollhq/terraform-provider-atoll/internal/replication"
	"github.com/atollhq/terraform-provider-atoll/internal/replication/replicationtest"
	"github.com/atollhq/terraform-provider-atoll/internal/replication/unison"
	"github.com/atollhq/terraform-provider-atoll/internal/spec"
)

const (
	coldPair = "dated"
	coldUnit = "atoll-pair-dated.service"
	// patience is how long anything may take on a machine with other things to do.
	patience = 2 * time.Minute
)

// coldSide is one node of a pair that moves old directories.
type coldSide struct {
	*replicationtest.Machine
	t      *testing.T
	driver *unison.Driver
	leads  bool
	peer   *coldSide
	path   string
	root   string
}

// coldWay is the way between two nodes.
type coldWay struct {
	mu   sync.Mutex
	cut  bool
	open map[io.Closer]struct{}
	back *coldSide
}

func (w *coldWay) dial(accept func(context.Context, string, io.ReadWriteCloser) error) (io.ReadWriteCloser, error) {
	w.mu.Lock()
	defer w.mu.Unlock()
	if w.cut {
		return nil, errors.New("the way is cut")
	}
	here, there := net.Pipe()
	w.open[here], w.open[there] = struct{}{}, struct{}{}
	go func() {
		_ = accept(context.Background(), coldPair, there) // it has closed the stream, as the other side sees
	}()
	return here, nil
}

func (w *coldWay) set(cut bool) {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.cut = cut
	for c := range w.open {
		if cut {
			_ = c.Close()
			delete(w.open, c)
		}
	}
}

func (s *coldSide) apply(way *coldWay) {
	s.t.Helper()
	p := replication.Pair{
		Name: coldPair, Node: s.Name, Peer: s.peer.Name, Leads: s.leads, Path: s.path, PeerPath: s.peer.path, Owner: "www-data", Group: "www-data",
		Exclude: []string{"*.tmp"}, Limits: spec.PairLimits{Nice: 7, IO: spec.IOIdle},
		Cold: &replication.Cold{
			PairCold: spec.PairCold{OlderThan: 30, Pattern: spec.DefaultDatePattern}, Path: s.root, Interval: time.Second, Settled: time.Second,
		},
	}
	if s.leads {
		p.Dial = func(context.Context) (io.ReadWriteCloser, error) { return way.dial(way.back.driver.Accept) }
		p.Cold.Dial = func(context.Context) (io.ReadWriteCloser, error) { return way.dial(way.back.driver.AcceptCold) }
	}
	if err := s.driver.Apply(s.t.Context(), []replication.Pair{p}); err != nil {
		s.t.Fatalf("%s: %v", s.Name, err)
	}
}

func (s *coldSide) file(path string) string { return filepath.Join(s.Root, s.path, path) }

// write writes a file as the application does, on its own machine.
func (s *coldSide) write(path, content string) {
	s.t.Helper()
	s.Run(s.t, `umask 022; cd "$1"; setpriv --reuid=33 --regid=33 --clear-groups sh -ec 'mkdir -p "$(dirname "$1")"; printf %s "$2" > "$1"' sh "$2" "$3"`, s.path, path, content)
}

// read reads a file on its machine, where links lead to where they do.
func (s *coldSide) read(path string) string {
	return s.Run(s.t, `cat "$1/$2" 2>&1 || true`, s.path, path)
}

func (s *coldSide) moved(dir string) bool {
	text, err := os.Readlink(s.file(dir))
	return err == nil && text == strings.Repeat("../", strings.Count(dir, "/"))+".atoll-cold/root/"+dir
}

func (s *coldSide) status() replication.Status {
	s.t.Helper()
	st, err := s.driver.Status(s.t.Context(), coldPair)
	if err != nil {
		s.t.Fatal(err)
	}
	return st
}

// TestColdDirectories moves old directories on two machines of namespaces, with real unison and rsync, while programs are killed.
func TestColdDirectories(t *testing.T) {
	t.Parallel()
	machinetest.Require(t, "unison", "rsync", "setpriv")
	coldDirectories(t, newMachine(t, "hk1"), newMachine(t, "sg1"))
}

// TestColdDirectoriesOfUnits does so on machines with a systemd of their own, as nodes are.
func TestColdDirectoriesOfUnits(t *testing.T) {
	t.Parallel()
	if err := nodes.Check(); err != nil {
		t.Skipf("NOT RUN: %v", err)
	}
	lab, err := bare.New(t.Context(), fmt.Sprintf("cold%d", os.Getpid()), bare.Options{Progress: func(doing string) { t.Log(doing) }})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := lab.Close(context.WithoutCancel(t.Context())); err != nil {
			t.Error(err)
		}
	})
	one, other := bareMachine(t, lab, "hk1"), bareMachine(t, lab, "sg1")
	coldDirectories(t, one, other)
	// What a pair may take holds for everything that its unit starts: here it is systemd that sees to it.
	for _, m := range []*replicationtest.Machine{one, other} {
		await.NoError(t, "the programs of "+m.Name+" have the pair's limits", patience, func(context.Context) error {
			out := strings.Fields(m.Run(t, `for p in $(pgrep -x unison) $(pgrep -x atoll-cold); do cut -d' ' -f1,2,19 /proc/$p/stat; ionice -p $p; done`))
			if text := strings.Join(out, " "); len(out) != 8 || out[2] != "7" || out[3] != "idle" || out[6] != "7" || out[7] != "idle" {
				return fmt.Errorf("its programs are %q", text)
			}
			return nil
		})
	}
}

func coldDirectories(t *testing.T, one, other *replicationtest.Machine) {
	way := &coldWay{open: map[io.Closer]struct{}{}}
	lead := &coldSide{Machine: one, t: t, leads: true, path: "/srv/uploads", root: "/srv/archive"}
	back := &coldSide{Machine: other, t: t, path: "/srv/other", root: "/srv/old files"}
	lead.peer, back.peer, way.back = back, lead, back
	sides := []*coldSide{lead, back}
	for _, s := range sides {
		d := unison.NewWith(s.Sys, slog.New(slog.DiscardHandler), unison.Options{Program: program, Dial: s.Dial})
		s.driver = d
		t.Cleanup(func() {
			way.set(true)
			if err := errors.Join(d.Apply(context.WithoutCancel(t.Context()), nil), d.Close()); err != nil {
				t.Error(err)
			}
		})
	}
	t.Cleanup(func() {
		if t.Failed() {
			for _, s := range sides {
				out, err := s.Sys.Run(context.WithoutCancel(t.Context()), host.Command{Name: "sh", ReadOnly: true, Args: []string{
					"-c",
					"tail -n 60 /run/journal 2>/dev/null || journalctl --no-pager -o cat -u " + coldUnit + " -n 60; find /srv | head -n 100",
				}})
				t.Logf("%s: %s %v", s.Name, out.Stdout, err)
			}
		}
	})
	eventually := func(what string, is func() error) {
		t.Helper()
		await.NoError(t, what, patience, func(context.Context) error { return is() })
	}
	allMoved := func(dirs ...string) func() error {
		return func() error {
			for _, s := range sides {
				for _, dir := range dirs {
					if !s.moved(dir) {
						return fmt.Errorf("%s is not moved on %s: %+v", dir, s.Name, s.status().Cold)
					}
				}
			}
			return nil
		}
	}
	has := func(path, content string) func() error {
		return func() error {
			for _, s := range sides {
				if got := s.read(path); got != content {
					return fmt.Errorf("%s has %q in %s", s.Name, got, path)
				}
			}
			return nil
		}
	}
	for _, s := range sides {
		s.apply(way)
	}
	eventually("the sides are connected", func() error {
		if st := lead.status(); st.State != spec.PairSynced {
			return fmt.Errorf("it is %+v", st)
		}
		return nil
	})

	lead.write("2020/01/02/a", "first")
	lead.write("2020/01/02/deep/b", "second")
	lead.write("2099/01/02/c", "third")
	eventually("it is on both sides", has("2020/01/02/a", "first"))
	eventually("an old directory is moved", allMoved("2020/01/02"))
	for path, content := range map[string]string{"2020/01/02/a": "first", "2020/01/02/deep/b": "second", "2099/01/02/c": "third"} {
		eventually("nothing is lost", has(path, content))
	}
	if lead.moved("2099/01/02") {
		t.Error("a new directory is moved")
	}
	eventually("what moves runs as the account", func() error { // it starts others, which have its name for a moment
		who := back.Run(t, `for p in $(pgrep -x atoll-cold); do stat -c %U /proc/$p && grep CapEff /proc/$p/status || true; done`)
		if strings.TrimSpace(who) != "www-data\nCapEff:\t0000000000000000" {
			return fmt.Errorf("it runs as %q", who)
		}
		return nil
	})

	// Changes go on to be carried over, and what is written through the links is.
	back.write("2099/01/02/d", "hot")
	eventually("the hot part goes on", has("2099/01/02/d", "hot"))
	back.write("2020/01/02/through", "cold")
	eventually("what is written through a link is brought over", has("2020/01/02/through", "cold"))
	eventually("both sides say what is moved", func() error {
		for _, s := range sides {
			if c := s.status().Cold; c == nil || c.Directories != 1 {
				return fmt.Errorf("%s: %+v", s.Name, c)
			}
		}
		return nil
	})

	// Programs are killed all the time while directories are moved.
	var dirs []string
	for month := 1; month <= 12; month++ {
		dir := fmt.Sprintf("2021/%02d/01", month)
		dirs = append(dirs, dir)
		sides[month%2].write(dir+"/x", dir)
		if month%3 == 0 {
			continue
		}
		if victim := sides[month/2%2]; month%2 == 0 {
			eventually("there is something to kill", func() error { return victim.Kill(coldUnit) })
			victim.apply(way) // machines of namespaces start nothing again by themselves
		} else {
			victim.Run(t, `pkill -KILL -x "rsync|atoll-cold" || true`)
		}
	}
	eventually("all are moved", allMoved(dirs...))
	for _, dir := range dirs {
		if err := has(dir+"/x", dir)(); err != nil {
			t.Error(err)
		}
	}

	// The other node is gone for long: the one that is left moves alone, and nothing that the other had meanwhile is lost.
	lead.write("2022/01/01/both", "both")
	way.set(true)
	lead.write("2022/05/01/here", "of the one that is gone")
	back.write("2022/05/01/there", "of the one that is left")
	eventually("the one that is left moves alone", func() error {
		if err := back.driver.PermitAlone(t.Context(), coldPair); err != nil {
			return err
		}
		if !back.moved("2022/05/01") {
			return fmt.Errorf("it is %+v", back.status().Cold)
		}
		return nil
	})
	if lead.moved("2022/05/01") {
		t.Error("both move alone")
	}
	// While the other cannot follow, everything else goes on.
	lead.Run(t, `mv "$1" "$1.away"`, lead.root)
	way.set(false)
	back.write("2099/01/02/meanwhile", "hot")
	eventually("the hot part goes on while one cannot follow", has("2099/01/02/meanwhile", "hot"))
	eventually("it is said why", func() error {
		if c := lead.status().Cold; c == nil || c.Problem == "" || c.Waiting == "" {
			return fmt.Errorf("it says %+v", c)
		}
		return nil
	})
	if got := lead.read("2022/05/01/here"); got != "of the one that is gone" || lead.moved("2022/05/01") {
		t.Errorf("what is apart was touched: %q", got)
	}
	lead.Run(t, `mv "$1.away" "$1"`, lead.root)
	eventually("the other follows", allMoved("2022/05/01", "2022/01/01"))
	eventually("it has what was made here", has("2022/05/01/here", "of the one that is gone"))
	eventually("it has what was made there", has("2022/05/01/there", "of the one that is left"))
	lead.write("2099/01/02/e", "last")
	eventually("the hot part goes on", has("2099/01/02/e", "last"))
	for _, s := range sides {
		st := s.status()
		if len(st.Conflicts) > 0 || st.Problem != "" {
			t.Errorf("%s: %+v", s.Name, st)
		}
		eventually("nothing is kept that nobody has replaced", func() error {
			if kept := s.Run(t, `for d in "$1/.atoll-cold/kept" "$2/.atoll-cold/aside"; do [ ! -e "$d" ] || find "$d" -type f 2>/dev/null || true; done`, s.root, s.path); kept != "" {
				return fmt.Errorf("%s keeps %s", s.Name, kept)
			}
			return nil
		})
	}
}
