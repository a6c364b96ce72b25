package linode

import (
	"net/http"
	"strconv"
	"time"
)

// Limits say how many requests a token may make; a zero field is the vendor's limit.
type Limits struct {
	Create     Limit // creating instances: 20 in 15 s
	ListImages Limit // listing images: 20 a minute
	List       Limit // other lists: 200 a minute
	Other      Limit // everything else: 1,600 a minute
}

// Limit is a number of requests in each window of time. Negative Requests are no limit.
type Limit struct {
	Requests int
	Per      time.Duration
}

// Unlimited returns limits that never refuse.
func Unlimited() Limits {
	none := Limit{Requests: -1}
	return Limits{Create: none, ListImages: none, List: none, Other: none}
}

type limitName int

const (
	limitOther limitName = iota
	limitCreate
	limitListImages
	limitList
)

type bucket struct {
	token string
	limit limitName
}

type window struct {
	ends time.Time
	used int
}

func (l Limits) of(name limitName) Limit {
	set, live := l.Other, Limit{1600, time.Minute}
	switch name {
	case limitCreate:
		set, live = l.Create, Limit{20, 15 * time.Second}
	case limitListImages:
		set, live = l.ListImages, Limit{20, time.Minute}
	case limitList:
		set, live = l.List, Limit{200, time.Minute}
	case limitOther:
	}
	if set.Requests != 0 {
		live.Requests = set.Requests
	}
	if set.Per != 0 {
		live.Per = set.Per
	}
	return live
}

// admit counts a request and refuses it when its window is full.
func (s *Server) admit(w http.ResponseWriter, token string, name limitName) error {
	limit := s.Limits.of(name)
	if limit.Requests < 0 {
		return nil
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	now, key := s.Now(), bucket{token, name}
	win := s.limits[key]
	if win == nil || !now.Before(win.ends) {
		win = &window{ends: now.Add(limit.Per)}
		s.limits[key] = win
	}
	remaining := max(limit.Requests-win.used-1, 0)
	header := w.Header()
	header.Set("X-Ratelimit-Limit", strconv.Itoa(limit.Requests))
	header.Set("X-Ratelimit-Remaining", strconv.Itoa(remaining))
	header.Set("X-Ratelimit-Reset", strconv.FormatInt(win.ends.Unix(), 10))
	if win.used >= limit.Requests {
		header.Set("Retry-After", seconds(win.ends.Sub(now)))
		return fail(http.StatusTooManyRequests, "Too many requests")
	}
	win.used++
	return nil
}

// seconds rounds up: a client that comes back a moment too early would be refused again.
func seconds(d time.Duration) string {
	return strconv.Itoa(max(int((d+time.Second-1)/time.Second), 1))
}
