package worker_test

import (
	"bytes"
	"context"
	"io"
	"net"
	"testing"
	"testing/synctest"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/atollhq/terraform-provider-atoll/internal/replication/worker"
)

func TestLink(t *testing.T) {
	a, b := net.Pipe()
	words := make(chan worker.Word, 4)
	here := worker.NewLink(a, func(worker.Word) {})
	there := worker.NewLink(b, func(w worker.Word) { words <- w })
	sent := bytes.Repeat([]byte("unison "), 50_000) // several frames
	said := []worker.Word{{Hello: true, Forget: true}, {Release: 7}, {Look: []string{"a/b", "c"}}}
	done := make(chan error, 1)
	go func() {
		for _, w := range said {
			if err := here.Say(w); err != nil {
				done <- err
				return
			}
		}
		_, err := here.Write(sent)
		done <- err
	}()
	got := make([]byte, len(sent))
	if _, err := io.ReadFull(there, got); err != nil {
		t.Fatal(err)
	}
	if err := <-done; err != nil {
		t.Fatal(err)
	}
	if !bytes.Equal(got, sent) {
		t.Error("the program's bytes are others")
	}
	for _, want := range said {
		if diff := cmp.Diff(want, <-words); diff != "" {
			t.Errorf("a word (-said +heard):\n%s", diff)
		}
	}
	if hello := <-there.Hello(); !hello.Forget {
		t.Errorf("the first word is %+v", hello)
	}
	if err := here.Close(); err != nil {
		t.Fatal(err)
	}
	<-there.Ended()
	if _, err := there.Read(got); err == nil {
		t.Error("reading goes on after the end")
	}
}

// TestLinkRefuses has the other side speak another language.
func TestLinkRefuses(t *testing.T) {
	for name, stream := range map[string]string{
		"a frame that is too long": "d\xff\xff\xff\xff",
		"no word":                  "w\x00\x00\x00\x01{",
		"half a frame":             "d\x00\x00\x00\x05ab",
	} {
		t.Run(name, func(t *testing.T) {
			a, b := net.Pipe()
			link := worker.NewLink(b, func(w worker.Word) { t.Errorf("heard %+v", w) })
			ctx, cancel := context.WithCancel(t.Context())
			go func() {
				_, _ = io.WriteString(a, stream) // what is refused is not read to its end
				_ = a.Close()
				cancel()
			}()
			read, err := io.ReadAll(link)
			if err == nil && name != "half a frame" || len(read) > 0 {
				t.Errorf("read %q, %v", read, err)
			}
			if err := link.Close(); err != nil {
				t.Error(err)
			}
			<-ctx.Done()
		})
	}
}

// TestLinkEndsInSilence has the other end be gone without a word.
func TestLinkEndsInSilence(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		a, b := net.Pipe()
		link := worker.NewLink(a, func(worker.Word) {})
		began := time.Now()
		go func() { _, _ = io.Copy(io.Discard, b) }() // it takes what comes, and says nothing
		<-link.Ended()
		if took := time.Since(began); took < 10*time.Second || took > 20*time.Second {
			t.Errorf("it ends after %s", took)
		}
		_ = b.Close() // the copy ends
	})
}

// TestLinkLivesOn has nothing to say for an hour.
func TestLinkLivesOn(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		a, b := net.Pipe()
		here, there := worker.NewLink(a, func(worker.Word) {}), worker.NewLink(b, func(worker.Word) {})
		select {
		case <-here.Ended():
			t.Error("it ended")
		case <-there.Ended():
			t.Error("it ended")
		case <-time.After(time.Hour):
		}
		if err := here.Close(); err != nil {
			t.Error(err)
		}
		<-there.Ended()
		if err := there.Close(); err != nil {
			t.Error(err)
		}
		<-here.Ended()
	})
}
