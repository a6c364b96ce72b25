package demo

import (
	"fmt"
	"net/http"
	"strings"
	"time"
)

// Paths of the application.
const (
	// HomePath names the node; whoever is logged in sees the session as well.
	HomePath = "/"
	// AccountPath is for those who are logged in, and 401 for others.
	AccountPath = "/account"
	// LoginPath begins a session by POST; the form value "as" is the visitor's name.
	LoginPath = "/login"
	// ReadyPath is 200 while the application finds itself well, 503 otherwise.
	ReadyPath = "/ready"
	// SlowPath answers after the time that the value "for" says, such as 3s.
	SlowPath = "/slow"
)

// slowest bounds what SlowPath waits.
const slowest = time.Minute

// App is the application on one node. It keeps nothing: what it knows of a visitor is in the visitor's cookie.
type App struct {
	// Node is what it says it is.
	Node string
	// Sessions signs and reads cookies.
	Sessions Sessions
	// Notes are kept in the node's database. It may be nil.
	Notes *Notes
	// Unwell says why the application finds itself unwell, "" while it does not. It may be nil.
	Unwell func() string
}

// Handler returns the application. The first line of each answer that is good is the node's name.
func (a *App) Handler() http.Handler {
	mux := http.NewServeMux()
	mux.HandleFunc("GET "+ReadyPath, a.ready)
	mux.HandleFunc("POST "+LoginPath, a.login)
	mux.HandleFunc("POST /logout", a.logout)
	mux.HandleFunc("GET "+AccountPath, a.account)
	mux.HandleFunc("GET "+SlowPath, a.slow)
	if a.Notes != nil {
		mux.HandleFunc("POST "+NotesPath, a.write)
		mux.HandleFunc("GET "+NotesPath, a.read)
	}
	mux.HandleFunc("GET /{$}", a.home)
	return mux
}

// say answers with the node's name and a text.
func (a *App) say(w http.ResponseWriter, format string, values ...any) {
	w.Header().Set("Content-Type", "text/plain; charset=utf-8")
	w.Header().Set("Cache-Control", "no-store")
	// Whoever has gone meanwhile needs no answer.
	_, _ = fmt.Fprintf(w, a.Node+"\n"+format+"\n", values...)
}

func (a *App) ready(w http.ResponseWriter, _ *http.Request) {
	if a.Unwell != nil {
		if why := a.Unwell(); why != "" {
			http.Error(w, why, http.StatusServiceUnavailable)
			return
		}
	}
	a.say(w, "ready")
}

func (a *App) home(w http.ResponseWriter, r *http.Request) {
	if s, ok := a.Sessions.Read(r); ok {
		a.greet(w, s)
		return
	}
	a.say(w, "Hello. Nobody is logged in: curl -c jar -d as=YOU …%s, then curl -b jar -c jar …%s", LoginPath, AccountPath)
}

func (a *App) account(w http.ResponseWriter, r *http.Request) {
	s, ok := a.Sessions.Read(r)
	if !ok {
		http.Error(w, "log in first: POST "+LoginPath, http.StatusUnauthorized)
		return
	}
	a.greet(w, s)
}

// greet shows a session to its owner and counts the request.
func (a *App) greet(w http.ResponseWriter, s Session) {
	s.Requests++
	moved := ""
	if s.Node != a.Node {
		s.Node = a.Node
		s.Moves++
		moved = " just"
	}
	a.Sessions.Write(w, s)
	a.say(w, "Hello %s, logged in at %s on %s, %d requests, moved %d times%s", s.User, s.Since.Format(time.RFC3339), s.First, s.Requests, s.Moves, moved)
}

func (a *App) login(w http.ResponseWriter, r *http.Request) {
	r.Body = http.MaxBytesReader(w, r.Body, 4<<10)
	user := strings.TrimSpace(r.FormValue("as"))
	if user == "" {
		user = "somebody"
	}
	if len(user) > longestUser || strings.ContainsFunc(user, func(c rune) bool { return c < ' ' || c == 0x7f }) {
		http.Error(w, fmt.Sprintf("as: a name of at most %d bytes without control characters", longestUser), http.StatusBadRequest)
		return
	}
	a.Sessions.Write(w, Session{User: user, Since: a.Sessions.now().UTC().Truncate(time.Second), First: a.Node, Node: a.Node})
	a.say(w, "Hello %s, you are logged in", user)
}

func (a *App) logout(w http.ResponseWriter, _ *http.Request) {
	a.Sessions.Forget(w)
	a.say(w, "Goodbye")
}

// slow answers late, for whoever wants to see what becomes of requests that are under way.
func (a *App) slow(w http.ResponseWriter, r *http.Request) {
	wait, err := time.ParseDuration(r.FormValue("for"))
	if err != nil || wait < 0 || wait > slowest {
		http.Error(w, fmt.Sprintf("for: a time from 0s to %s, such as 3s", slowest), http.StatusBadRequest)
		return
	}
	timer := time.NewTimer(wait)
	defer timer.Stop()
	select {
	case <-timer.C:
		a.say(w, "after %s", wait)
	case <-r.Context().Done():
	}
}
