package demo

import (
	"crypto/hmac"
	"crypto/sha256"
	"encoding/base64"
	"encoding/json"
	"net/http"
	"strings"
	"time"
)

// cookieName is the application's own cookie, beside the edge's.
const cookieName = "atoll_demo"

// sessionLife is how long a session lasts that nobody uses.
const sessionLife = 30 * time.Minute

// longestUser bounds a visitor's name, in bytes.
const longestUser = 64

// Session is what the application knows of a visitor who is logged in.
type Session struct {
	User string `json:"user"`
	// Since is when it began, and Seen when it was used last.
	Since time.Time `json:"since"`
	Seen  time.Time `json:"seen"`
	// First is the node that it began on, Node that of its last request.
	First string `json:"first"`
	Node  string `json:"node"`
	// Requests counts them, Moves how often one was answered by another node than the one before.
	Requests int `json:"requests"`
	Moves    int `json:"moves"`
}

// Sessions reads and writes the cookies of visitors. Whoever has the key can make them.
type Sessions struct {
	Key []byte
	// Clock may be nil.
	Clock func() time.Time
}

func (s Sessions) now() time.Time {
	if s.Clock != nil {
		return s.Clock()
	}
	return time.Now()
}

// Write sets the cookie of a session, as used now.
func (s Sessions) Write(w http.ResponseWriter, session Session) {
	session.Seen = s.now().UTC().Truncate(time.Second)
	data, err := json.Marshal(session)
	if err != nil {
		return // it holds texts, numbers and times of this century only
	}
	text := base64.RawURLEncoding.EncodeToString(data)
	http.SetCookie(w, &http.Cookie{
		Name: cookieName, Value: text + "." + base64.RawURLEncoding.EncodeToString(s.sign(text)), Path: "/",
		MaxAge: int(sessionLife.Seconds()), HttpOnly: true, SameSite: http.SameSiteLaxMode,
	})
}

// Forget takes the cookie back.
func (s Sessions) Forget(w http.ResponseWriter) {
	http.SetCookie(w, &http.Cookie{Name: cookieName, Path: "/", MaxAge: -1, HttpOnly: true, SameSite: http.SameSiteLaxMode})
}

// Read returns the session of a request, and whether there is one that is genuine and was used lately enough.
func (s Sessions) Read(r *http.Request) (Session, bool) {
	var session Session
	cookie, err := r.Cookie(cookieName)
	if err != nil {
		return session, false
	}
	text, signature, _ := strings.Cut(cookie.Value, ".")
	given, err := base64.RawURLEncoding.DecodeString(signature)
	if err != nil || !hmac.Equal(given, s.sign(text)) {
		return session, false
	}
	data, err := base64.RawURLEncoding.DecodeString(text)
	if err != nil || json.Unmarshal(data, &session) != nil {
		return Session{}, false
	}
	return session, s.now().Sub(session.Seen) < sessionLife
}

func (s Sessions) sign(text string) []byte {
	m := hmac.New(sha256.New, s.Key)
	m.Write([]byte(text))
	return m.Sum(nil)
}
