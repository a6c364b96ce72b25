package fsmonitor_test

import (
	"bufio"
	"context"
	"errors"
	"net"
	"strings"
	"testing"
	"time"

	"github.com/atollhq/terraform-provider-atoll/internal/replication/unison/fsmonitor"
	"github.com/atollhq/terraform-provider-atoll/internal/replication/watch"
)

// answersWithin is how long anything may take on a machine with other things to do.
const answersWithin = 2 * time.Minute

// talk is unison's side of a connection.
type talk struct {
	*testing.T
	conn   net.Conn
	lines  *bufio.Reader
	events chan fsmonitor.Event
	woken  chan int
	ended  chan error
	*fsmonitor.Monitor
}

// begin serves a monitor of /tree to a unison that the test plays.
func begin(t *testing.T, options fsmonitor.Options) *talk {
	t.Helper()
	d := &talk{T: t, events: make(chan fsmonitor.Event, 100), woken: make(chan int, 100)}
	options.Root = "/tree"
	options.Event = func(e fsmonitor.Event) { d.events <- e }
	options.Woken = func(round int) { d.woken <- round }
	d.Monitor = fsmonitor.New(options)
	d.connect()
	return d
}

func (d *talk) connect() {
	d.Helper()
	here, there := net.Pipe()
	d.conn, d.lines, d.ended = here, bufio.NewReader(here), make(chan error, 1)
	ended := d.ended
	go func() { ended <- d.Serve(d.Context(), there) }()
	d.Cleanup(func() { _ = here.Close() })
	if err := here.SetDeadline(time.Now().Add(answersWithin)); err != nil {
		d.Fatal(err)
	}
	d.want("VERSION 1")
	d.say("VERSION 1")
}

func (d *talk) say(lines ...string) {
	d.Helper()
	for _, line := range lines {
		if _, err := d.conn.Write([]byte(line + "\n")); err != nil {
			d.Fatal(err)
		}
	}
}

func (d *talk) want(lines ...string) {
	d.Helper()
	for _, line := range lines {
		got, err := d.lines.ReadString('\n')
		if err != nil || got != line+"\n" {
			d.Fatalf("got %q, %v; want %q", got, err, line)
		}
	}
}

// await waits for an event.
func (d *talk) await(want fsmonitor.Event) {
	d.Helper()
	for {
		select {
		case got := <-d.events:
			if got == want {
				return
			}
		case <-time.After(answersWithin):
			d.Fatalf("no event %+v", want)
		}
	}
}

// forget drops what events there were.
func (d *talk) forget() {
	for {
		select {
		case <-d.events:
		default:
			return
		}
	}
}

// scan is what unison does at first.
func (d *talk) scan() {
	d.Helper()
	d.say("START hash /tree ")
	d.want("OK")
	d.say("DIR ")
	d.want("OK")
	d.say("DIR a%20b")
	d.want("OK")
	d.say("LINK c")
	d.want("OK")
	d.say("DONE")
}

func change(paths ...string) watch.Batch {
	var b watch.Batch
	for _, path := range paths {
		b.Changes = append(b.Changes, watch.Change{Path: path})
	}
	return b
}

func TestWatchMode(t *testing.T) {
	d := begin(t, fsmonitor.Options{})
	d.Changed(change("before the scan"))
	d.scan()
	d.await(fsmonitor.Event{Kind: fsmonitor.Scanning})
	d.say("CHANGES hash")
	d.want("DONE")
	// Nothing is there, then something is, and it is told once.
	d.say("WAIT hash")
	d.await(fsmonitor.Event{Kind: fsmonitor.Waiting})
	d.Changed(change("a", "b/\xff\n%"))
	d.want("CHANGES hash")
	if n := d.Pending(); n != 2 {
		t.Errorf("%d are pending, want 2", n)
	}
	d.say("CHANGES hash")
	d.want("RECURSIVE a", "RECURSIVE b/%FF%0A%25", "DONE")
	d.await(fsmonitor.Event{Kind: fsmonitor.Told, Count: 2})
	d.say("START hash /tree a")
	d.want("OK")
	d.await(fsmonitor.Event{Kind: fsmonitor.Scanning, Path: "a"})
	d.say("DONE")
	d.say("CHANGES hash")
	d.want("DONE")
	// It was there before it was waited for.
	d.Changed(change("c"))
	d.say("WAIT hash")
	d.want("CHANGES hash")
	// Another command takes the wait back.
	d.say("CHANGES hash")
	d.want("RECURSIVE c", "DONE")
	d.say("WAIT hash")
	d.await(fsmonitor.Event{Kind: fsmonitor.Waiting})
	d.say("RESET hash", "START hash /tree ")
	d.want("OK")
	d.Changed(change("d"))
	d.say("DONE", "CHANGES hash")
	d.want("RECURSIVE d", "DONE")
}

func TestEverything(t *testing.T) {
	d := begin(t, fsmonitor.Options{})
	d.scan()
	d.say("WAIT hash")
	d.Changed(watch.Batch{All: true, Reason: "overflow"})
	d.want("CHANGES hash")
	d.say("CHANGES hash")
	d.want("RECURSIVE ", "DONE")
}

func TestWhatUnisonIsTold(t *testing.T) {
	tests := []struct {
		name    string
		changes []watch.Change
		want    []string
	}{
		{"another's", []watch.Change{{Path: "a"}}, []string{"a"}},
		{"unison's own", []watch.Change{{Path: "a", Own: true}, {Path: "d", Own: true, Recursive: true}}, nil},
		{"in progress", []watch.Change{{Path: "d/.unison.a.0123.unison.tmp"}, {Path: ".unison.d.0123.unison.tmp/x"}}, nil},
		{"what only looks like it", []watch.Change{{Path: ".unison"}, {Path: ".unison.x"}}, []string{".unison", ".unison.x"}},
		{
			"versions put aside",
			[]watch.Change{
				{Path: "d/a (conflict_on_2026-11-21).txt", Own: true},
				{Path: "b (conflict #12_on_2026-11-21_was_deleted)", Own: true},
			},
			[]string{
				"b", "b%20(conflict%20#12_on_2026-11-21_was_deleted)",
				"d/a%20(conflict_on_2026-11-21).txt", "d/a.txt",
			},
		},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			d := begin(t, fsmonitor.Options{})
			d.scan()
			d.Changed(watch.Batch{Changes: tt.changes})
			d.say("CHANGES hash")
			for _, path := range tt.want {
				d.want("RECURSIVE " + path)
			}
			d.want("DONE")
		})
	}
}

func TestHold(t *testing.T) {
	d := begin(t, fsmonitor.Options{Hold: true})
	d.scan() // round 1 is held back by nothing
	held := func() {
		t.Helper()
		d.forget() // what is told late is told once more, for nothing
		d.say("CHANGES hash")
		d.await(fsmonitor.Event{Kind: fsmonitor.Waiting})
	}
	held()
	d.Changed(change("a"))
	d.want("RECURSIVE a", "DONE")
	if round := <-d.woken; round != 2 {
		t.Errorf("the other side is woken for round %d, want 2", round)
	}
	held()
	d.Release(3)
	d.want("DONE")
	d.Release(3) // late
	d.Release(4) // early
	d.say("CHANGES hash")
	d.want("DONE")
	d.Release(4) // late
	held()
	d.Again()
	d.want("DONE")
	if round := <-d.woken; round != 5 {
		t.Errorf("the other side is woken for round %d, want 5", round)
	}
	// A side that counts anew, before it is asked and while it is.
	d.Release(1)
	d.say("CHANGES hash")
	d.want("DONE")
	held()
	d.Release(9)
	d.want("DONE")
	held()
	d.Again()
	d.want("DONE")
	if round := <-d.woken; round != 8 {
		t.Errorf("the other side is woken for round %d, want 8", round)
	}
	d.Again() // it is busy
	// A unison that scans everything without end is held back as well.
	d.say("RESET hash", "START hash /tree ")
	d.await(fsmonitor.Event{Kind: fsmonitor.Waiting})
	d.Changed(change("b"))
	d.want("OK")
	if round := <-d.woken; round != 9 {
		t.Errorf("the other side is woken for round %d, want 9", round)
	}
	if n := d.Pending(); n != 0 {
		t.Errorf("%d are pending after a scan of everything began", n)
	}
	// Another connection counts anew, and begins without delay.
	d.connect()
	d.scan()
	held()
	d.Changed(change("c"))
	d.want("RECURSIVE c", "DONE")
	if round := <-d.woken; round != 2 {
		t.Errorf("the other side is woken for round %d, want 2", round)
	}
}

// TestRoundOfAChange asks in which round a change is told.
func TestRoundOfAChange(t *testing.T) {
	d := begin(t, fsmonitor.Options{Hold: true})
	want := func(round int, path string) {
		t.Helper()
		if got := d.Changed(change(path)); got != round {
			t.Errorf("%s is told in round %d, want %d", path, got, round)
		}
	}
	d.scan()
	d.say("CHANGES hash")
	d.await(fsmonitor.Event{Kind: fsmonitor.Waiting})
	want(2, "while-unison-waits")
	d.want("RECURSIVE while-unison-waits", "DONE")
	want(3, "while-unison-is-busy")
	d.say("CHANGES hash")
	d.want("RECURSIVE while-unison-is-busy", "DONE")
}

func TestGate(t *testing.T) {
	closed := errors.New("the tree is not there")
	var gate error
	d := begin(t, fsmonitor.Options{Gate: func() error { return gate }})
	d.scan()
	d.Changed(change("a"))
	gate = closed
	d.say("CHANGES hash")
	d.want("ERROR the%20tree%20is%20not%20there")
	if err := <-d.ended; !errors.Is(err, closed) {
		t.Errorf("Serve: %v", err)
	}
	if n := d.Pending(); n != 1 {
		t.Errorf("%d are pending, want the one that unison was not told of", n)
	}
	d.connect()
	d.say("START hash /tree ")
	d.want("ERROR the%20tree%20is%20not%20there")
}

func TestRefusals(t *testing.T) {
	tests := []struct{ name, line, want string }{
		{"another tree", "START hash /elsewhere ", "ERROR unison%20scans%20/elsewhere"},
		{"another replica", "CHANGES other", "ERROR unison%20asks%20for%20the%20replica"},
		{"another replica's wait", "WAIT other", "ERROR unison%20asks%20for%20the%20replica"},
		{"an unknown command", "BARK", "ERROR unison%20says"},
		{"bad encoding", "DIR a%4", "ERROR unison%20says"},
		{"bad digits", "DIR a%4x", "ERROR unison%20says"},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			d := begin(t, fsmonitor.Options{})
			d.scan()
			d.say(tt.line)
			got, err := d.lines.ReadString('\n')
			if err != nil || !strings.HasPrefix(got, tt.want) {
				t.Errorf("got %q, %v; want %q", got, err, tt.want)
			}
			if err := <-d.ended; err == nil {
				t.Error("Serve returned no error")
			}
		})
	}
}

func TestEndings(t *testing.T) {
	t.Run("unison ends", func(t *testing.T) {
		d := begin(t, fsmonitor.Options{})
		_ = d.conn.Close()
		if err := <-d.ended; err != nil {
			t.Error(err)
		}
		d.Changed(change("a")) // nobody listens
		d.Release(1)
		d.Again()
	})
	t.Run("another one begins", func(t *testing.T) {
		d := begin(t, fsmonitor.Options{})
		first := d.ended
		d.connect()
		if err := <-first; !errors.Is(err, fsmonitor.ErrReplaced) {
			t.Errorf("the first ended with %v", err)
		}
		d.scan()
	})
	t.Run("the context ends", func(t *testing.T) {
		ctx, cancel := context.WithCancel(t.Context())
		here, there := net.Pipe()
		defer func() { _ = here.Close() }()
		ended := make(chan error, 1)
		go func() { ended <- fsmonitor.New(fsmonitor.Options{Root: "/tree"}).Serve(ctx, there) }()
		if _, err := bufio.NewReader(here).ReadString('\n'); err != nil {
			t.Fatal(err)
		}
		cancel()
		if err := <-ended; !errors.Is(err, context.Canceled) {
			t.Errorf("Serve: %v", err)
		}
	})
}

func TestQuote(t *testing.T) {
	for plain, want := range map[string]string{
		"":              "",
		"a/b-c_d.e~!*'": "a/b-c_d.e~!*'",
		"( ) %":         "(%20)%20%25",
		"\n\x00\xff\"":  "%0A%00%FF%22",
	} {
		if got := fsmonitor.Quote(plain); got != want {
			t.Errorf("Quote(%q) is %q, want %q", plain, got, want)
		}
		if got, err := fsmonitor.Unquote(want); err != nil || got != plain {
			t.Errorf("Unquote(%q) is %q, %v; want %q", want, got, err, plain)
		}
	}
	var bad *fsmonitor.QuoteError
	if _, err := fsmonitor.Unquote("ok%zz"); !errors.As(err, &bad) || bad.At != 2 {
		t.Errorf("got %v", err)
	}
	if got, err := fsmonitor.Unquote("%fF"); err != nil || got != "\xff" {
		t.Errorf("got %q, %v", got, err)
	}
}

func FuzzQuote(f *testing.F) {
	f.Add("a b")
	f.Fuzz(func(t *testing.T, s string) {
		quoted := fsmonitor.Quote(s)
		if strings.ContainsAny(quoted, " \n") {
			t.Errorf("Quote(%q) is %q", s, quoted)
		}
		if got, err := fsmonitor.Unquote(quoted); err != nil || got != s {
			t.Errorf("Unquote(Quote(%q)) is %q, %v", s, got, err)
		}
	})
}
