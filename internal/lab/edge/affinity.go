package edge

import (
	"crypto/hmac"
	"crypto/sha256"
	"encoding/base64"
	"encoding/json"
	"net/http"
	"slices"
	"strings"
	"time"

	"github.com/atollhq/terraform-provider-atoll/internal/lab/cloudflare"
)

// cookieName is the vendor's.
const cookieName = "__cflb"

// The vendor's lives of a session whose load balancer does not say one, in seconds.
const (
	cookieTTL = 82800
	headerTTL = 1800
)

// session is what the cookie says.
type session struct {
	Balancer string `json:"b"`
	Pool     string `json:"p"`
	Address  string `json:"a"`
	Port     int    `json:"o"`
	Expires  int64  `json:"e"` // Unix time in milliseconds
}

// headerSession is a session that clients are recognised for by their headers.
type headerSession struct {
	key  key
	used time.Time
}

func byCookie(b *cloudflare.LoadBalancer) bool {
	return b.SessionAffinity == "cookie" || b.SessionAffinity == "ip_cookie"
}

// pinned returns the endpoint that the client's session sticks to; false when there is no session, it is over, or its
// endpoint may not get the client any more.
func (e *Edge) pinned(b *cloudflare.LoadBalancer, r *http.Request) (endpoint, bool) {
	var k key
	switch {
	case byCookie(b):
		for _, cookie := range r.CookiesNamed(cookieName) {
			if s, ok := e.open(cookie.Value); ok && s.Balancer == b.ID && time.Now().UnixMilli() < s.Expires {
				k = key{s.Pool, s.Address, s.Port}
			}
		}
	case b.SessionAffinity == "header":
		name, ok := headerKey(b, r)
		if !ok {
			return endpoint{}, false
		}
		e.mu.Lock()
		if s := e.sessions[name]; s != nil && time.Since(s.used) < e.seconds(affinityTTL(b)) {
			s.used = time.Now()
			k = s.key
		}
		e.mu.Unlock()
	}
	if k == (key{}) {
		return endpoint{}, false
	}
	pool, ok := e.account.Load().Pool(k.pool)
	if !ok || !slices.Contains(b.Pools(), pool.ID) {
		return endpoint{}, false
	}
	n := slices.IndexFunc(pool.Origins, func(o cloudflare.Origin) bool { return keyOf(&pool, &o) == k })
	if n < 0 {
		return endpoint{}, false
	}
	origin := pool.Origins[n]
	if !e.up(&pool, &origin) || !e.draining(b, pool.Enabled, pool.DisabledAt) || !e.draining(b, origin.Enabled, origin.DisabledAt) {
		return endpoint{}, false
	}
	return endpoint{pool, origin}, true
}

// draining says whether sessions may go on where something was disabled: as long as the load balancer lets them drain. Disabled
// endpoints are excluded from the vendor's checks, by its API's description of "enabled", so one that was well when it was disabled
// counts as well until the drain is over, whatever becomes of it. The vendor does not say so in as many words; this is the reading
// under which nobody must be surprised by the real thing.
func (e *Edge) draining(b *cloudflare.LoadBalancer, enabled bool, disabled *time.Time) bool {
	return enabled || disabled != nil && time.Since(*disabled) < e.seconds(b.SessionAffinityAttributes.DrainDuration)
}

// affinityTTL is how long a session lasts, in the account's seconds.
func affinityTTL(b *cloudflare.LoadBalancer) int {
	switch {
	case b.SessionAffinityTTL != 0:
		return b.SessionAffinityTTL
	case b.SessionAffinity == "header":
		return headerTTL
	}
	return cookieTTL
}

// stick makes a session stick to the endpoint that served it, by the answer's header when it is one by cookie.
func (e *Edge) stick(b *cloudflare.LoadBalancer, r *http.Request, answer http.Header, at *endpoint) {
	switch {
	case byCookie(b):
		ttl := e.seconds(affinityTTL(b))
		expires := time.Now().Add(ttl)
		k := at.key()
		cookie := http.Cookie{
			Name: cookieName, Value: e.seal(session{b.ID, k.pool, k.address, k.port, expires.UnixMilli()}),
			Path: "/", Expires: expires, HttpOnly: true, SameSite: sameSite(b.SessionAffinityAttributes.SameSite),
			Secure: b.SessionAffinityAttributes.Secure == "Always",
		}
		answer.Add("Set-Cookie", cookie.String())
	case b.SessionAffinity == "header":
		name, ok := headerKey(b, r)
		if !ok {
			return
		}
		e.mu.Lock()
		defer e.mu.Unlock()
		for other, s := range e.sessions {
			if time.Since(s.used) > e.seconds(3600) { // the longest that a session may be idle
				delete(e.sessions, other)
			}
		}
		e.sessions[name] = &headerSession{key: at.key(), used: time.Now()}
	}
}

// sameSite is the cookie's attribute. "Auto" depends on whether the zone sends everybody to HTTPS; a lab has none.
func sameSite(choice string) http.SameSite {
	switch choice {
	case "None":
		return http.SameSiteNoneMode
	case "Strict":
		return http.SameSiteStrictMode
	}
	return http.SameSiteLaxMode
}

// headerKey is what a client is recognised by; false when it does not show the headers that it must.
func headerKey(b *cloudflare.LoadBalancer, r *http.Request) (string, bool) {
	parts, seen := []string{b.ID}, 0
	for _, name := range b.SessionAffinityAttributes.Headers {
		values := r.Header.Values(name)
		if len(values) > 0 {
			seen++
		}
		parts = append(parts, strings.ToLower(name), strings.Join(values, "\x01"))
	}
	if seen == 0 || b.SessionAffinityAttributes.RequireAllHeaders && seen < len(b.SessionAffinityAttributes.Headers) {
		return "", false
	}
	return strings.Join(parts, "\x00"), true
}

func (e *Edge) mac(text string) []byte {
	h := hmac.New(sha256.New, e.secret)
	_, _ = h.Write([]byte(text)) // it never fails
	return h.Sum(nil)[:16]
}

func (e *Edge) seal(s session) string {
	data, _ := json.Marshal(s) // strings and numbers only
	text := base64.RawURLEncoding.EncodeToString(data)
	return text + "." + base64.RawURLEncoding.EncodeToString(e.mac(text))
}

func (e *Edge) open(value string) (session, bool) {
	var s session
	text, sum, _ := strings.Cut(value, ".")
	mac, err := base64.RawURLEncoding.DecodeString(sum)
	if err != nil || !hmac.Equal(mac, e.mac(text)) {
		return s, false
	}
	data, err := base64.RawURLEncoding.DecodeString(text)
	return s, err == nil && json.Unmarshal(data, &s) == nil
}
