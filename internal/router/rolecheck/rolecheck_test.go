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
	s := rolecheck.Server{State: func(database string) rolecheck.State { return states[database] }}
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
	at := serve(t, map[string]rolecheck.State{"app": rolecheck.Writer, "log": rolecheck.Reader, "old": rolecheck.None, "new": rolecheck.Unknown})
	for said, want := range map[string]string{
		rolecheck.IsWriter.Of("app"): "up ready\n",
		rolecheck.IsReader.Of("app"): "down\n",
		"app/writer/\r\n":            "up ready\n",
		"log/writer/":                "down\n",
		"log/reader/":                "up ready\n",
		"old/reader/":                "down\n",
		"unknown/writer/":            "down\n",
		"new/writer/":                "",
		"new/reader/":                "",
		"app//":                      "down\n",
		"//":                         "down\n",
		"-app/writer/":               "down\n",
		// Who says no whole question in a second gets no answer.
		"app/writer":                     "",
		strings.Repeat("x", 1000) + "//": "",
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
	if got := ask(t, at, "app/writer/"); got != "up ready\n" {
		t.Errorf("got %q", got)
	}
}
