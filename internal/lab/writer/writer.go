package writer

import (
	"context"
	"crypto/rand"
	"database/sql"
	"fmt"
	"sync"
	"time"
)

// Plan is what a crowd of clients does.
type Plan struct {
	// Servers are the ways to the database, each with clients of its own.
	Servers []Server
	// Clients is how many write by each way; 2 when 0.
	Clients int
	// Every is how long a client pauses between two writes; 20 ms when 0.
	Every time.Duration
	// Patience is how long a client waits for one write before it gives it up and connects anew; 1 s when 0. An outage is never
	// seen as longer by that: other clients have begun later.
	Patience time.Duration
}

func (p Plan) withDefaults() Plan {
	if p.Clients == 0 {
		p.Clients = 2
	}
	if p.Every == 0 {
		p.Every = 20 * time.Millisecond
	}
	if p.Patience == 0 {
		p.Patience = time.Second
	}
	return p
}

// Write is one write that was tried.
type Write struct {
	// Client and Number are its key, and used once.
	Client string
	Number int64
	// By is the server by which it went.
	By string
	// Began and Ended are when it was sent and when it was known what became of it.
	Began, Ended time.Time
	// Error is why it was not acknowledged; nil when it was.
	Error error
}

// Crowd are clients that write until they are stopped.
type Crowd struct {
	stop context.CancelFunc
	done sync.WaitGroup

	mu     sync.Mutex
	record Record
	failed time.Time
}

// Start lets clients write. They go on, whatever happens and also when ctx ends, until Stop; the tables must be there.
func Start(ctx context.Context, p Plan) *Crowd {
	p = p.withDefaults()
	ctx, stop := context.WithCancel(context.WithoutCancel(ctx))
	c := &Crowd{stop: stop, failed: time.Now()}
	crowd := rand.Text()[:8]
	for _, s := range p.Servers {
		for n := range p.Clients {
			name := fmt.Sprintf("%s-%s-%d", crowd, s.Name, n)
			// They do not all write at the same moment.
			c.done.Go(func() { c.client(ctx, p, s, name, p.Every*time.Duration(n)/time.Duration(p.Clients)) })
		}
	}
	return c
}

// Stop ends the writing and returns all that was tried.
func (c *Crowd) Stop() Record {
	c.stop()
	c.done.Wait()
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.record
}

// Calm is how long no write has failed by now.
func (c *Crowd) Calm() time.Duration {
	c.mu.Lock()
	defer c.mu.Unlock()
	return time.Since(c.failed)
}

// Acknowledged is how many writes were acknowledged by now.
func (c *Crowd) Acknowledged() int {
	c.mu.Lock()
	defer c.mu.Unlock()
	n := 0
	for _, w := range c.record {
		if w.Error == nil {
			n++
		}
	}
	return n
}

func (c *Crowd) add(w Write) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.record = append(c.record, w)
	if w.Error != nil {
		c.failed = w.Ended
	}
}

// client writes with one connection, and makes another one whenever a write fails.
func (c *Crowd) client(ctx context.Context, p Plan, s Server, name string, offset time.Duration) {
	pause(ctx, offset)
	one := newSession(s)
	defer one.close()
	for number := int64(1); ctx.Err() == nil; number++ {
		w := Write{Client: name, Number: number, By: s.Name, Began: time.Now()}
		w.Error = one.exec(ctx, p.Patience, `INSERT INTO atoll_writes (client, number) VALUES (?, ?)`, name, number)
		w.Ended = time.Now()
		if ctx.Err() != nil && w.Error != nil {
			return // given up because of Stop
		}
		c.add(w)
		pause(ctx, p.Every)
	}
}

// session is one connection that is made when it is needed.
type session struct {
	server Server
	db     *sql.DB
	conn   *sql.Conn
}

func newSession(s Server) *session { return &session{server: s} }

// exec runs a statement. After an error the next one uses another connection: whatever was wrong with this one, an application
// would not go on with it either.
func (s *session) exec(ctx context.Context, patience time.Duration, statement string, values ...any) error {
	ctx, cancel := context.WithTimeout(ctx, patience)
	defer cancel()
	err := s.connect(ctx)
	if err == nil {
		_, err = s.conn.ExecContext(ctx, statement, values...)
	}
	if err != nil {
		s.close()
	}
	return err
}

func (s *session) connect(ctx context.Context) error {
	if s.conn != nil {
		return nil
	}
	var err error
	if s.db, err = s.server.open(); err != nil {
		return err
	}
	s.conn, err = s.db.Conn(ctx)
	return err
}

func (s *session) close() {
	if s.conn != nil {
		_ = s.conn.Close()
	}
	if s.db != nil {
		_ = s.db.Close()
	}
	s.conn, s.db = nil, nil
}

// pause waits, or until ctx ends.
func pause(ctx context.Context, d time.Duration) {
	timer := time.NewTimer(d)
	defer timer.Stop()
	select {
	case <-timer.C:
	case <-ctx.Done():
	}
}
