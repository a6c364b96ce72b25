package demo_test

import (
	"io"
	"net/http"
	"net/http/cookiejar"
	"net/http/httptest"
	"net/url"
	"strings"
	"testing"
	"time"

	"github.com/atollhq/terraform-provider-atoll/internal/lab/demo"
)

// node serves the application as a node with a key.
func node(t *testing.T, name, key string, clock func() time.Time) (*demo.App, string) {
	t.Helper()
	app := &demo.App{Node: name, Sessions: demo.Sessions{Key: []byte(key), Clock: clock}}
	server := httptest.NewServer(app.Handler())
	t.Cleanup(server.Close)
	return app, server.URL
}

// visitor has cookies, which it shows to every node.
type visitor struct {
	t      *testing.T
	client *http.Client
}

func newVisitor(t *testing.T) *visitor {
	t.Helper()
	jar, err := cookiejar.New(nil)
	if err != nil {
		t.Fatal(err)
	}
	return &visitor{t, &http.Client{Jar: jar}}
}

// ask expects a status and a part of the body.
func (v *visitor) ask(method, url string, status int, part string) string {
	v.t.Helper()
	request, err := http.NewRequestWithContext(v.t.Context(), method, url, nil)
	if err != nil {
		v.t.Fatal(err)
	}
	response, err := v.client.Do(request)
	if err != nil {
		v.t.Fatal(err)
	}
	defer func() { _ = response.Body.Close() }()
	body, err := io.ReadAll(response.Body)
	if err != nil {
		v.t.Fatal(err)
	}
	if response.StatusCode != status || !strings.Contains(string(body), part) {
		v.t.Errorf("%s %s: got %d %q, want %d with %q", method, url, response.StatusCode, body, status, part)
	}
	return string(body)
}

// TestSessionGoesOnElsewhere logs in on one node and goes on at another one, as after the first one's death. All nodes of the test
// have one host, so that cookies go to each.
func TestSessionGoesOnElsewhere(t *testing.T) {
	_, hk := node(t, "hk1", "the key of all nodes", nil)
	_, sg := node(t, "sg1", "the key of all nodes", nil)
	_, stranger := node(t, "us1", "another key", nil)
	v := newVisitor(t)
	v.ask(http.MethodGet, hk+demo.AccountPath, http.StatusUnauthorized, "log in")
	if body := v.ask(http.MethodGet, hk+demo.HomePath, http.StatusOK, "Nobody is logged in"); !strings.HasPrefix(body, "hk1\n") {
		t.Errorf("the first line is not the node: %q", body)
	}
	v.ask(http.MethodPost, hk+demo.LoginPath+"?as=Jo", http.StatusOK, "Hello Jo, you are logged in")
	v.ask(http.MethodGet, hk+demo.AccountPath, http.StatusOK, "on hk1, 1 requests, moved 0 times\n")
	v.ask(http.MethodGet, sg+demo.AccountPath, http.StatusOK, "on hk1, 2 requests, moved 1 times just")
	v.ask(http.MethodGet, sg+demo.HomePath, http.StatusOK, "on hk1, 3 requests, moved 1 times\n")
	v.ask(http.MethodGet, stranger+demo.AccountPath, http.StatusUnauthorized, "log in")
	v.ask(http.MethodPost, sg+"/logout", http.StatusOK, "Goodbye")
	v.ask(http.MethodGet, hk+demo.AccountPath, http.StatusUnauthorized, "log in")
}

func TestForgedAndOldSessions(t *testing.T) {
	now := time.Now()
	_, at := node(t, "hk1", "the key of all nodes", func() time.Time { return now })
	v := newVisitor(t)
	v.ask(http.MethodPost, at+demo.LoginPath+"?as=Jo", http.StatusOK, "Jo")
	host, err := url.Parse(at)
	if err != nil {
		t.Fatal(err)
	}
	genuine := v.client.Jar.Cookies(host)[0]
	text, signature, _ := strings.Cut(genuine.Value, ".")
	for name, value := range map[string]string{
		"other content": text[:len(text)-4] + "AAAA." + signature, "other signature": text + ".AAAA", "no signature": text, "empty": "", "no code": "%%%.%%%",
	} {
		forger := newVisitor(t)
		forger.client.Jar.SetCookies(host, []*http.Cookie{{Name: genuine.Name, Value: value}})
		t.Log(name)
		forger.ask(http.MethodGet, at+demo.AccountPath, http.StatusUnauthorized, "log in")
	}
	now = now.Add(29 * time.Minute)
	v.ask(http.MethodGet, at+demo.AccountPath, http.StatusOK, "Jo")
	now = now.Add(31 * time.Minute)
	v.ask(http.MethodGet, at+demo.AccountPath, http.StatusUnauthorized, "log in")
}

func TestPages(t *testing.T) {
	app, at := node(t, "hk1", "the key of all nodes", nil)
	v := newVisitor(t)
	v.ask(http.MethodGet, at+demo.ReadyPath, http.StatusOK, "ready")
	app.Unwell = func() string { return "a file is there" }
	v.ask(http.MethodGet, at+demo.ReadyPath, http.StatusServiceUnavailable, "a file is there")
	v.ask(http.MethodGet, at+demo.HomePath, http.StatusOK, "hk1")
	v.ask(http.MethodGet, at+demo.SlowPath+"?for=1ms", http.StatusOK, "after 1ms")
	for _, wait := range []string{"", "soon", "-1s", "1h"} {
		v.ask(http.MethodGet, at+demo.SlowPath+"?for="+wait, http.StatusBadRequest, "from 0s to 1m0s")
	}
	v.ask(http.MethodPost, at+demo.LoginPath, http.StatusOK, "Hello somebody")
	v.ask(http.MethodPost, at+demo.LoginPath+"?as="+strings.Repeat("a", 65), http.StatusBadRequest, "at most 64")
	v.ask(http.MethodPost, at+demo.LoginPath+"?as=a%0Ab", http.StatusBadRequest, "control characters")
	v.ask(http.MethodGet, at+"/nothing", http.StatusNotFound, "")
	v.ask(http.MethodGet, at+demo.LoginPath, http.StatusMethodNotAllowed, "")
}
