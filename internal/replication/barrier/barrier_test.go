package barrier_test

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/atollhq/terraform-provider-atoll/internal/replication/barrier"
	"github.com/atollhq/terraform-provider-atoll/internal/replication/digest"
)

// tree is a tree of files of ten bytes in one directory.
type tree struct {
	mu    sync.Mutex
	files map[string]byte
	// hidden are files that only a full digest finds.
	hidden map[string]byte
	// takes is how long a full digest takes.
	takes    time.Duration
	err      error
	settings digest.Sum
	problems int
	fulls    int
	// unfinished is what is left to do to it.
	unfinished string
}

func newTree(names ...string) *tree {
	t := &tree{files: map[string]byte{}, hidden: map[string]byte{}}
	for _, name := range names {
		t.files[name] = 1
	}
	return t
}

func (t *tree) change(f func()) {
	t.mu.Lock()
	defer t.mu.Unlock()
	f()
}

func (t *tree) directory() digest.Directory {
	d := digest.Directory{Settings: t.settings}
	for _, name := range slices.Sorted(func(yield func(string) bool) {
		for name := range t.files {
			if !yield(name) {
				return
			}
		}
	}) {
		d.Entries = append(d.Entries, digest.Entry{
			Name: []byte(name), Kind: digest.File, Content: digest.Sum{t.files[name]}, Totals: digest.Totals{Files: 1, Bytes: 10},
		})
		d.Sum[len(d.Entries)%len(d.Sum)] += name[0] * t.files[name]
		d.Totals.Files, d.Totals.Bytes = d.Totals.Files+1, d.Totals.Bytes+10
	}
	return d
}

// Digest implements barrier.Side.
func (t *tree) Digest(ctx context.Context, full bool, progress func(digest.Progress)) (*digest.Snapshot, error) {
	if full {
		progress(digest.Progress{Seen: digest.Totals{Files: 1}})
		select {
		case <-ctx.Done():
			return nil, ctx.Err()
		case <-time.After(t.takes):
		}
	}
	t.mu.Lock()
	defer t.mu.Unlock()
	if t.err != nil {
		return nil, t.err
	}
	if full {
		t.fulls++
		for name, content := range t.hidden {
			t.files[name] = content
		}
	}
	d := t.directory()
	return &digest.Snapshot{Sum: d.Sum, Settings: d.Settings, Totals: d.Totals, ProblemCount: t.problems, Unfinished: t.unfinished}, nil
}

// Directory implements digest.Lister.
func (t *tree) Directory(_ context.Context, path string) (digest.Directory, error) {
	t.mu.Lock()
	defer t.mu.Unlock()
	if path != "" {
		return digest.Directory{}, fmt.Errorf("%q is asked for", path)
	}
	return t.directory(), t.err
}

func pair(name string, here, there *tree) barrier.Pair {
	return barrier.Pair{Name: name, Nodes: [2]string{"hk1", "sg1"}, Sides: [2]barrier.Side{here, there}}
}

// within waits for pairs no longer than d, in a bubble.
func within(t *testing.T, d time.Duration, o barrier.Options, pairs ...barrier.Pair) ([]barrier.State, time.Duration, error) {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), d)
	defer cancel()
	began := time.Now()
	states, err := barrier.Wait(ctx, pairs, o)
	return states, time.Since(began), err
}

func TestEqualTreesAreToldAtOnceByFullDigests(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		here, there := newTree("a", "b"), newTree("a", "b")
		states, took, err := within(t, time.Minute, barrier.Options{}, pair("uploads", here, there))
		if err != nil || took != 0 || states[0].Phase != barrier.Equal || here.fulls != 1 || there.fulls != 1 {
			t.Errorf("after %s: %+v, %v; %d and %d full digests", took, states, err, here.fulls, there.fulls)
		}
	})
}

// TestWaitsForWhatIsLeftToDo: equal trees do not stay so while a node is about to change its own.
func TestWaitsForWhatIsLeftToDo(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		here, there := newTree("a"), newTree("a")
		there.unfinished = "a command runs"
		states, _, err := within(t, 10*time.Second, barrier.Options{}, pair("uploads", here, there))
		if s := states[0]; !errors.Is(err, context.DeadlineExceeded) || s.Phase != barrier.Unfinished || s.Comparison != nil || s.Sides[1].Snapshot.Unfinished != "a command runs" || there.fulls != 0 {
			t.Errorf("it runs: %+v, %v", s, err)
		}
		time.AfterFunc(20*time.Second, func() { there.change(func() { there.unfinished, there.files["b"] = "", 1 }) })
		time.AfterFunc(30*time.Second, func() { here.change(func() { here.files["b"] = 1 }) })
		states, took, err := within(t, time.Minute, barrier.Options{}, pair("uploads", here, there))
		if err != nil || took != 30*time.Second || states[0].Phase != barrier.Equal {
			t.Errorf("after %s: %+v, %v", took, states, err)
		}
	})
}

func TestWaitsForWhatIsBehind(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		here, there := newTree("a", "b", "c"), newTree("a", "d")
		time.AfterFunc(10*time.Second, func() { here.change(func() { here.files["d"] = 1 }) })
		time.AfterFunc(20*time.Second, func() { there.change(func() { there.files["b"], there.files["c"] = 1, 1 }) })
		var behind []digest.Totals
		states, took, err := within(t, time.Minute, barrier.Options{Report: func(s []barrier.State) {
			if c := s[0].Comparison; c != nil && (len(behind) == 0 || behind[len(behind)-1] != c.BehindHere) {
				behind = append(behind, c.BehindHere)
			}
		}}, pair("uploads", here, there))
		if err != nil || states[0].Phase != barrier.Equal || took < 20*time.Second || took > 22*time.Second {
			t.Errorf("after %s: %+v, %v", took, states, err)
		}
		if want := []digest.Totals{{Files: 1, Bytes: 10}, {}}; !slices.Equal(behind, want) {
			t.Errorf("it said that hk1 is behind by %+v, want %+v", behind, want)
		}
	})
}

func TestSaysWhatDiffersWhenTimeIsOver(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		here, there := newTree("a", "b", "c"), newTree("a", "b")
		there.files["a"] = 2
		states, took, err := within(t, 5*time.Second, barrier.Options{}, pair("uploads", here, there), pair("photos", newTree("x"), newTree("x")))
		if !errors.Is(err, context.DeadlineExceeded) || took != 5*time.Second {
			t.Fatalf("after %s: %v", took, err)
		}
		c := states[0].Comparison
		if states[0].Phase != barrier.Different || c == nil || len(c.Differences) != 2 || c.Differences[0].Kind != digest.OtherContent || c.Differences[1].Kind != digest.MissingThere {
			t.Errorf("got %+v, %+v", states[0], c)
		}
		// A pair is not done as long as another one is not.
		if states[1].Phase != barrier.Likely {
			t.Errorf("the other pair is %s", states[1].Phase)
		}
	})
}

func TestFullDigestHasTheLastWord(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		here, there := newTree("a"), newTree("a")
		here.hidden["b"] = 1
		states, _, err := within(t, 10*time.Second, barrier.Options{}, pair("uploads", here, there))
		if !errors.Is(err, context.DeadlineExceeded) || states[0].Phase != barrier.Different || here.fulls != 1 {
			t.Errorf("%+v, %v, %d full digests", states[0], err, here.fulls)
		}
	})
}

func TestNeverEqual(t *testing.T) {
	for _, tt := range []struct {
		name  string
		spoil func(*tree)
	}{
		{"what cannot be read", func(t *tree) { t.problems = 1 }},
		{"other settings", func(t *tree) { t.settings = digest.Sum{9} }},
		{"a side that cannot be asked", func(t *tree) { t.err = errors.New("connection refused") }},
		{"a digest that does not end", func(t *tree) { t.takes = time.Hour }},
	} {
		t.Run(tt.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				here, there := newTree("a"), newTree("a")
				tt.spoil(there)
				states, _, err := within(t, 10*time.Second, barrier.Options{}, pair("uploads", here, there))
				if !errors.Is(err, context.DeadlineExceeded) || states[0].Phase == barrier.Equal {
					t.Errorf("%+v, %v", states[0], err)
				}
				if s := states[0]; s.Problem == "" && s.Sides[1].Err == nil && s.Sides[1].Progress == nil && s.Sides[1].Snapshot.ProblemCount == 0 {
					t.Errorf("it does not say why: %+v", s)
				}
			})
		})
	}
}

func TestSideThatComesBack(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		here, there := newTree("a"), newTree("a")
		there.err = errors.New("connection refused")
		time.AfterFunc(5*time.Second, func() { there.change(func() { there.err = nil }) })
		var refused error
		states, _, err := within(t, time.Minute, barrier.Options{Report: func(s []barrier.State) {
			if refused == nil {
				refused = s[0].Sides[1].Err
			}
		}}, pair("uploads", here, there))
		if err != nil || states[0].Phase != barrier.Equal || refused == nil || states[0].Sides[1].Err != nil {
			t.Errorf("%+v, %v, was told of %v", states[0], err, refused)
		}
	})
}

// hanging is a side that does not answer.
type hanging struct{ *tree }

func (hanging) Digest(ctx context.Context, _ bool, _ func(digest.Progress)) (*digest.Snapshot, error) {
	<-ctx.Done()
	return nil, fmt.Errorf("connect: %w", ctx.Err())
}

func TestSideThatDoesNotAnswer(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		here := newTree("a")
		p := pair("uploads", here, here)
		p.Sides[1] = hanging{here}
		states, took, err := within(t, 5*time.Second, barrier.Options{}, p)
		if s := states[0]; !errors.Is(err, context.DeadlineExceeded) || took != 5*time.Second || s.Phase != barrier.Reading || s.Sides[1].Err == nil || s.Sides[0].Snapshot == nil {
			t.Errorf("after %s: %+v, %v", took, s, err)
		}
	})
}

func TestHopelessEndsAtOnce(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		old := errors.New("this agent has no such thing")
		here, there := newTree("a"), newTree("a")
		there.err = old
		_, took, err := within(t, time.Minute, barrier.Options{Hopeless: func(err error) bool { return errors.Is(err, old) }}, pair("uploads", here, there))
		if !errors.Is(err, old) || took != 0 {
			t.Errorf("after %s: %v", took, err)
		}
	})
}
