//go:build linux

package databasetest

import (
	"context"
	"database/sql"
	"fmt"
	"sync"
	"testing"
	"time"
)

// open returns an application's connections to a member, from that member's machine.
func (w *world) open(n *member, password string) (*sql.DB, error) {
	db, err := w.engine.Open(n.Dial, n.want.Address.String(), user, password, schema)
	if err == nil {
		db.SetMaxIdleConns(1)
	}
	return db, err
}

// do runs one statement as the application at a member.
func (w *world) do(ctx context.Context, n *member, statement string) error {
	ctx, cancel := context.WithTimeout(ctx, 5*time.Second)
	defer cancel()
	db, err := w.open(n, n.want.Users[user].Password)
	if err != nil {
		return err
	}
	defer func() { _ = db.Close() }()
	_, err = db.ExecContext(ctx, statement)
	return err
}

// rows returns the numbers that a member has, in order.
func (w *world) rows(ctx context.Context, n *member) ([]int, error) {
	ctx, cancel := context.WithTimeout(ctx, 5*time.Second)
	defer cancel()
	db, err := w.open(n, n.want.Users[user].Password)
	if err != nil {
		return nil, err
	}
	defer func() { _ = db.Close() }()
	list, err := db.QueryContext(ctx, "SELECT id FROM entries ORDER BY id")
	if err != nil {
		return nil, err
	}
	defer func() { _ = list.Close() }()
	var out []int
	for list.Next() {
		var id int
		if err := list.Scan(&id); err != nil {
			return nil, err
		}
		out = append(out, id)
	}
	return out, list.Err()
}

// record is what the database has acknowledged, over all writers.
type record struct {
	mu    sync.Mutex
	next  int
	acked []int
}

func (r *record) number() int {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.next++
	return r.next
}

func (r *record) ack(id int) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.acked = append(r.acked, id)
}

// check fails the test when a member misses what was acknowledged.
func (r *record) check(t *testing.T, w *world, members ...*member) {
	t.Helper()
	r.mu.Lock()
	defer r.mu.Unlock()
	if len(r.acked) == 0 {
		t.Error("nothing was ever acknowledged")
	}
	for _, n := range members {
		have, err := w.rows(t.Context(), n)
		if err != nil {
			t.Errorf("read at %s: %v", n.Name, err)
			continue
		}
		there := map[int]bool{}
		for _, id := range have {
			there[id] = true
		}
		var lost []int
		for _, id := range r.acked {
			if !there[id] {
				lost = append(lost, id)
			}
		}
		if len(lost) > 0 {
			t.Errorf("%s has lost %d of %d acknowledged writes: %v", n.Name, len(lost), len(r.acked), lost)
		}
	}
}

// writer writes one number after the other, at whichever member takes it, until it is stopped.
type writer struct {
	stop func()
	mu   sync.Mutex
	// last is when a write was acknowledged last, gap the longest time between two.
	last time.Time
	gap  time.Duration
	n    int
}

// write begins to write. Each attempt may take a second; one that got no answer may have been made nevertheless, and its number
// is never used again.
func (w *world) write(t *testing.T, r *record) *writer {
	t.Helper()
	ctx, cancel := context.WithCancel(t.Context())
	out := &writer{last: time.Now()}
	var done sync.WaitGroup
	out.stop = sync.OnceFunc(func() {
		cancel()
		done.Wait()
	})
	t.Cleanup(out.stop)
	var pools []*sql.DB
	for _, n := range w.members {
		db, err := w.open(n, n.want.Users[user].Password)
		if err != nil {
			t.Fatal(err)
		}
		pools = append(pools, db)
	}
	done.Go(func() {
		defer func() {
			for _, db := range pools {
				_ = db.Close()
			}
		}()
		tick := time.NewTicker(5 * time.Millisecond)
		defer tick.Stop()
		for at := 0; ctx.Err() == nil; {
			id := r.number()
			if err := out.one(ctx, pools[at], id); err == nil {
				r.ack(id)
				out.acked()
			} else {
				at = (at + 1) % len(pools)
			}
			select {
			case <-ctx.Done():
			case <-tick.C:
			}
		}
	})
	return out
}

func (*writer) one(ctx context.Context, db *sql.DB, id int) error {
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), time.Second)
	defer cancel()
	_, err := db.ExecContext(ctx, fmt.Sprintf("INSERT INTO entries (id) VALUES (%d)", id))
	return err
}

func (o *writer) acked() {
	o.mu.Lock()
	defer o.mu.Unlock()
	now := time.Now()
	o.gap = max(o.gap, now.Sub(o.last))
	o.last = now
	o.n++
}

// writes returns how many were acknowledged, and the longest time without one.
func (o *writer) writes() (n int, gap time.Duration) {
	o.mu.Lock()
	defer o.mu.Unlock()
	return o.n, o.gap
}
