package writer

import (
	"cmp"
	"context"
	"database/sql"
	"errors"
	"fmt"
	"maps"
	"slices"
	"sync"
	"time"
)

// probeEvery is the pause between two attempts to write at a member, and probeWithin what one may take.
const (
	probeEvery  = 50 * time.Millisecond
	probeWithin = time.Second
)

// Probe is one attempt to write at a member itself.
type Probe struct {
	Member string
	// Number is what was written. A later attempt at the same member has a higher one.
	Number       int64
	Began, Ended time.Time
	// Accepted tells that the write was acknowledged.
	Accepted bool
}

// Watch tries to write at every member itself, all the time: what a member says of itself proves nothing.
type Watch struct {
	stop context.CancelFunc
	done sync.WaitGroup

	mu     sync.Mutex
	probes []Probe
}

// StartWatch begins to try, and goes on until Stop, also when ctx ends. The tables must be there.
func StartWatch(ctx context.Context, members []Server) *Watch {
	ctx, stop := context.WithCancel(context.WithoutCancel(ctx))
	w := &Watch{stop: stop}
	for _, m := range members {
		w.done.Go(func() { w.member(ctx, m) })
	}
	return w
}

func (w *Watch) member(ctx context.Context, m Server) {
	one := newSession(m)
	defer one.close()
	// Those of a watch before this one were lower.
	for number := time.Now().UnixMilli(); ctx.Err() == nil; number++ {
		p := Probe{Member: m.Name, Number: number, Began: time.Now()}
		err := one.exec(ctx, probeWithin, `REPLACE INTO atoll_probes (member, number) VALUES (?, ?)`, m.Name, number)
		p.Ended, p.Accepted = time.Now(), err == nil
		if ctx.Err() != nil {
			return
		}
		w.mu.Lock()
		w.probes = append(w.probes, p)
		w.mu.Unlock()
		pause(ctx, probeEvery)
	}
}

// Stop ends it and returns all attempts.
func (w *Watch) Stop() Probes {
	w.stop()
	w.done.Wait()
	return w.Probes()
}

// Probes returns all attempts that have ended.
func (w *Watch) Probes() Probes {
	w.mu.Lock()
	defer w.mu.Unlock()
	return slices.Clone(w.probes)
}

// Probes are attempts to write at members themselves.
type Probes []Probe

// TwoWritersError is proof that two members took writes at the same time.
type TwoWritersError struct {
	// One took a write, then Other did, then One again, without having refused any in between.
	One, Other string
	At         time.Time
}

// Error says who and when.
func (e *TwoWritersError) Error() string {
	return fmt.Sprintf("%s and %s both took writes at %s", e.One, e.Other, e.At.Format("15:04:05.000"))
}

// OneWriter returns a *TwoWritersError when two members took writes at the same time. The proof goes by order alone: one member
// acknowledged a write, another one acknowledged one that began after that, and then the first acknowledged again one that
// began after that, although it had refused nothing in between. A primary that hands over refuses.
func (p Probes) OneWriter() error {
	byMember := map[string]Probes{}
	for _, one := range p {
		byMember[one.Member] = append(byMember[one.Member], one)
	}
	for _, list := range byMember {
		slices.SortFunc(list, func(a, b Probe) int { return a.Began.Compare(b.Began) })
	}
	names := slices.Collect(func(yield func(string) bool) {
		for name := range byMember {
			if !yield(name) {
				return
			}
		}
	})
	slices.SortFunc(names, cmp.Compare)
	for _, one := range names {
		for i := 1; i < len(byMember[one]); i++ {
			before, after := byMember[one][i-1], byMember[one][i]
			if !before.Accepted || !after.Accepted {
				continue
			}
			for _, other := range names {
				if other == one {
					continue
				}
				if at, ok := between(byMember[other], before.Ended, after.Began); ok {
					return &TwoWritersError{One: one, Other: other, At: at}
				}
			}
		}
	}
	return nil
}

// between returns when a write was acknowledged that began and ended between two moments.
func between(list Probes, from, to time.Time) (time.Time, bool) {
	i, _ := slices.BinarySearchFunc(list, from, func(p Probe, at time.Time) int { return p.Began.Compare(at) })
	for ; i < len(list) && list[i].Began.Before(to); i++ {
		if list[i].Accepted && !list[i].Ended.After(to) {
			return list[i].Ended, true
		}
	}
	return time.Time{}, false
}

// Writers returns the members that took writes, in the order of their first one.
func (p Probes) Writers() []string {
	var out []string
	sorted := slices.SortedFunc(slices.Values(p), func(a, b Probe) int { return a.Ended.Compare(b.Ended) })
	for _, one := range sorted {
		if one.Accepted && !slices.Contains(out, one.Member) {
			out = append(out, one.Member)
		}
	}
	return out
}

// Lost asks a server which members had acknowledged a write that it does not have. The server must be up to date, and its schema
// the one that was written to.
func (p Probes) Lost(ctx context.Context, s Server) ([]string, error) {
	last := map[string]int64{}
	for _, one := range p {
		if one.Accepted {
			last[one.Member] = max(last[one.Member], one.Number)
		}
	}
	var lost []string
	err := s.Do(ctx, func(ctx context.Context, conn *sql.Conn) error {
		for _, member := range slices.Sorted(maps.Keys(last)) {
			var number int64
			err := conn.QueryRowContext(ctx, `SELECT number FROM atoll_probes WHERE member = ?`, member).Scan(&number)
			if err != nil && !errors.Is(err, sql.ErrNoRows) {
				return err
			}
			if number < last[member] {
				lost = append(lost, member)
			}
		}
		return nil
	})
	if err != nil {
		return nil, fmt.Errorf("read what %s has: %w", s.Name, err)
	}
	return lost, nil
}
