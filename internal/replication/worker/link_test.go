package worker_test

import (
	"bytes"
	"context"
	"fmt"
	"io"
	"net"
	"strings"
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
	said := []worker.Word{{Hello: true, Forget: true}, {Release: 7}, {Look: worker.Paths{"a/b", "no \xff UTF-8"}}}
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

// TestLinkSaysMuch has more to say than there is room for in one word.
func TestLinkSaysMuch(t *testing.T) {
	t.Parallel()
	a, b := net.Pipe()
	var look, tidy worker.Paths
	for i := range 3000 {
		look = append(look, fmt.Sprintf("%s\xff/%d", strings.Repeat("directory/", 20), i))
		tidy = append(tidy, strings.Repeat("x", 4000))
	}
	var heard worker.Word
	words, most := 0, 0
	there := worker.NewLink(b, func(w worker.Word) {
		words, most = words+1, max(most, len(w.Look)+len(w.Tidy))
		heard.Problem, heard.Synced = heard.Problem+w.Problem, heard.Synced || w.Synced
		heard.Look, heard.Tidy = append(heard.Look, w.Look...), append(heard.Tidy, w.Tidy...)
	})
	here := worker.NewLink(a, func(worker.Word) {})
	said := worker.Word{Synced: true, Look: look, Tidy: tidy, Problem: strings.Repeat("p", 100_000)}
	if err := here.Say(said); err != nil {
		t.Fatal(err)
	}
	if err := here.Close(); err != nil {
		t.Fatal(err)
	}
	<-there.Ended()
	said.Problem = said.Problem[:4096]
	if diff := cmp.Diff(said, heard); diff != "" {
		t.Errorf("(-said +heard):\n%s", diff)
	}
	if words < 300 || most > 200 {
		t.Errorf("%d words, the longest of %d paths", words, most)
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
