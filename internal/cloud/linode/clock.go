package linode

import (
	"net/http"
	"sync"
	"time"
)

// clock compares this computer's clock with the API's, by what each answer says (RFC 9110, 6.6.1). Its zero value is ready;
// it is safe for concurrent use.
type clock struct {
	mu    sync.Mutex
	ahead time.Duration
	known bool
}

// compare takes the date of an answer that came at now. It counts whole seconds, and is as old as the answer's way was long.
func (c *clock) compare(date string, now time.Time) {
	said, err := http.ParseTime(date)
	if err != nil {
		return // none, or a proxy's idea of one
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	c.ahead, c.known = now.Sub(said), true
}

// ClockAhead returns how far this computer's clock was ahead of the API's at the last answer, to within some seconds and
// negative when it was behind, and whether any answer told.
func (c *Client) ClockAhead() (time.Duration, bool) {
	c.clock.mu.Lock()
	defer c.clock.mu.Unlock()
	return c.clock.ahead, c.clock.known
}
