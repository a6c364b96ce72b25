package cloudflare

import (
	"fmt"
	"net/http"
	"strconv"
	"time"
)

// Limits say how many requests a token may make; a zero field is the vendor's limit.
type Limits struct {
	// Requests in Per, negative for no limit: 1,200 in 5 minutes.
	Requests int
	Per      time.Duration
	// Block is how long every request is refused once there was one too many: 5 minutes.
	Block time.Duration
}

// Unlimited returns limits that never refuse.
func Unlimited() Limits { return Limits{Requests: -1} }

func (l Limits) withDefaults() Limits {
	if l.Requests == 0 {
		l.Requests = 1200
	}
	if l.Per == 0 {
		l.Per = 5 * time.Minute
	}
	if l.Block == 0 {
		l.Block = 5 * time.Minute
	}
	return l
}

// window counts a token's requests.
type window struct {
	ends    time.Time
	used    int
	blocked time.Time // until then
}

// admit counts a request of a token and refuses it when there were too many. The caller holds the lock.
func (s *Server) admit(w http.ResponseWriter, token string) error {
	limit := s.Limits.withDefaults()
	if limit.Requests < 0 {
		return nil
	}
	now := s.Now()
	win := s.windows[token]
	if win == nil {
		win = &window{}
		s.windows[token] = win
	}
	if !now.Before(win.ends) {
		win.used, win.ends = 0, now.Add(limit.Per)
	}
	if now.Before(win.blocked) || win.used >= limit.Requests {
		if !now.Before(win.blocked) {
			win.blocked = now.Add(limit.Block)
			// The window begins anew when the block ends.
			win.ends = win.blocked
		}
		rest := win.blocked.Sub(now)
		limitHeaders(w.Header(), limit, 0, rest)
		w.Header().Set("Retry-After", seconds(rest))
		return fail(http.StatusTooManyRequests, codeTooMany, fmt.Sprintf(
			"More than %d requests per %d seconds reached. Please wait and consider throttling your request speed",
			limit.Requests, int(limit.Per.Seconds())))
	}
	win.used++
	limitHeaders(w.Header(), limit, limit.Requests-win.used, win.ends.Sub(now))
	return nil
}

func limitHeaders(header http.Header, limit Limits, remaining int, reset time.Duration) {
	header.Set("Ratelimit", fmt.Sprintf(`"default";r=%d;t=%s`, remaining, seconds(reset)))
	header.Set("Ratelimit-Policy", fmt.Sprintf(`"default";q=%d;w=%d`, limit.Requests, int(limit.Per.Seconds())))
}

// seconds rounds up: a client that comes back a moment too early would be refused again.
func seconds(d time.Duration) string {
	return strconv.Itoa(max(int((d+time.Second-1)/time.Second), 1))
}
