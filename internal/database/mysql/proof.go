package mysql

import (
	"context"
	"database/sql"
	"fmt"
	"sync"
	"time"
)

// proof is when the group last confirmed that the local server is part of it. A primary that stood still for a while, or that is
// cut off, calls itself the primary for some seconds more: nothing that is written there is ever acknowledged, but whoever is
// led there waits in vain.
type proof struct {
	mu sync.Mutex
	// at is when the last question was asked that was answered since.
	at time.Time
	// asking is closed when the question that is under way has ended, nil while there is none.
	asking chan struct{}
}

const (
	// proofLasts is for how long the group's word is believed: longer than a bad line holds an answer up, shorter than the
	// 5 s after which others can have become the primary.
	proofLasts = 4500 * time.Millisecond
	// proofPatience is how long one question may take.
	proofPatience = 4 * time.Second
)

// confirmed tells whether the group has confirmed within the last seconds that the server is part of it, waiting for an answer
// until ctx ends if need be.
func (p *proof) confirmed(ctx context.Context, db *sql.DB) bool {
	p.mu.Lock()
	if p.asking == nil {
		p.asking = make(chan struct{})
		go p.ask(context.WithoutCancel(ctx), db, p.asking)
	}
	asking := p.asking
	p.mu.Unlock()
	select {
	case <-asking:
	case <-ctx.Done():
	}
	p.mu.Lock()
	defer p.mu.Unlock()
	return !p.at.IsZero() && time.Since(p.at) < proofLasts
}

func (p *proof) ask(ctx context.Context, db *sql.DB, done chan struct{}) {
	ctx, cancel := context.WithTimeout(ctx, proofPatience)
	defer cancel()
	from := time.Now()
	err := askGroup(ctx, db)
	p.mu.Lock()
	defer p.mu.Unlock()
	if err == nil {
		p.at = from
	}
	p.asking = nil
	close(done)
}

// askGroup reads with the promise to see all that the group has done before, which takes a message to a majority of it.
func askGroup(ctx context.Context, db *sql.DB) error {
	conn, err := db.Conn(ctx)
	if err != nil {
		return err
	}
	defer func() { _ = conn.Close() }()
	// The server itself gives up, too, instead of waiting for a group that never answers.
	err = inOrder(ctx, conn, fmt.Sprintf("SET SESSION wait_timeout = %d, group_replication_consistency = 'BEFORE'", int(proofPatience.Seconds())))
	if err != nil {
		return err
	}
	var clusters int
	err = conn.QueryRowContext(ctx, "SELECT COUNT(*) FROM "+metadataSchema+".clusters").Scan(&clusters)
	if n := number(err); n == errNoTable || n == errNoSchema {
		// A group that has just begun.
		return nil
	}
	if err == nil {
		err = inOrder(ctx, conn, "SET SESSION wait_timeout = DEFAULT, group_replication_consistency = DEFAULT")
	}
	return err
}
