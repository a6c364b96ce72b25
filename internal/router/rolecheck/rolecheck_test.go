package rolecheck_test

import (
	"context"
	"io"
	"net"
	"strings"
	"testing"
	"time"

	"github.com/atollhq/terraform-provider-atoll/internal/router/rolecheck"
)

// serve starts a server and returns where it is.
func serve(t *testing.T, states map[string]rolecheck.State) string {
	t.Helper()
	l, err := (&net.ListenConfig{}).Listen(t.Context(), "tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(context.WithoutCancel(t.Context()))
	done := make(chan error)
	s := rolecheck.Server{States: func() map[string]rolecheck.State { return states }}
	go func() { done <- s.Serve(ctx, l) }()
	t.Cleanup(func() {
		cancel()
		if err := <-done; err != nil {
			t.Errorf("it ended with %v", err)
		}
	})
	return l.Addr().String()
}

// ask has one conversation.
func ask(t *testing.T, at, said string) string {
	t.Helper()
	conn, err := (&net.Dialer{}).DialContext(t.Context(), "tcp", at)
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = conn.Close() }()
	if err := conn.SetDeadline(time.Now().Add(5 * time.Second)); err != nil {
		t.Fatal(err)
	}
	if _, err := io.WriteString(conn, said); err != nil {
		t.Fatal(err)
	}
	answer, err := io.ReadAll(conn)
	if err != nil && len(answer) > 0 {
		t.Fatal(err)
	}
	return string(answer)
}

func TestServe(t *testing.T) {
	at := serve(t, map[string]rolecheck.State{"app": rolecheck.Writer, "log": rolecheck.Reader, "old": rolecheck.None})
	for said, want := range map[string]string{
		rolecheck.IsWriter.Line("app") + "\n": "up ready\n",
		rolecheck.IsReader.Line("app") + "\n": "down\n",
		"app writer\r\n":                      "up ready\n",
		"log writer\n":                        "down\n",
		"log reader\n":                        "up ready\n",
		"old reader\n":                        "down\n",
		"unknown writer\n":                    "down\n",
		"app\n":                               "down\n",
		"\n":                                  "down\n",
		"app writer and more\n":               "down\n",
		// Who says no whole line in a second gets no answer.
		"app writer":                     "",
		strings.Repeat("x", 1000) + "\n": "",
	} {
		if got := ask(t, at, said); got != want {
			t.Errorf("%.40q was answered by %q, want %q", said, got, want)
		}
	}
}

func TestManyWhoSayNothing(t *testing.T) {
	at := serve(t, map[string]rolecheck.State{"app": rolecheck.Writer})
	for range 100 {
		conn, err := (&net.Dialer{}).DialContext(t.Context(), "tcp", at)
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() { _ = conn.Close() })
	}
	if got := ask(t, at, "app writer\n"); got != "up ready\n" {
		t.Errorf("got %q", got)
	}
}
