package worker_test

import (
	"bytes"
	"context"
	"fmt"
	"io"
	"net"
	"runtime"
	"strings"
	"sync/atomic"
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

// counted counts what is written to a stream.
type counted struct {
	io.ReadWriteCloser
	bytes atomic.Int64
}

func (c *counted) Write(p []byte) (int, error) {
	n, err := c.ReadWriteCloser.Write(p)
	c.bytes.Add(int64(n))
	return n, err
}

// slow takes little at a time.
type slow struct{ bytes.Buffer }

func (s *slow) Write(p []byte) (int, error) {
	for n := range len(p) {
		if n%1000 == 0 {
			runtime.Gosched()
		}
	}
	return s.Buffer.Write(p)
}

// TestLinkHoldsBack has nobody take what comes at first: some of it is taken in, and no more, and nothing is lost.
func TestLinkHoldsBack(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		a, b := net.Pipe()
		sender := &counted{ReadWriteCloser: a}
		here, there := worker.NewLink(sender, func(worker.Word) {}), worker.NewLink(b, func(worker.Word) {})
		sent := make([]byte, 5<<20+123)
		for i := range sent {
			sent[i] = byte(i * i >> 7)
		}
		done := make(chan error, 2)
		go func() {
			for rest := sent; len(rest) > 0; {
				n := min(len(rest), 1+len(rest)%200_000)
				if _, err := here.Write(rest[:n]); err != nil {
					done <- err
					return
				}
				rest = rest[n:]
			}
			done <- here.Close()
		}()
		synctest.Wait()
		if got := sender.bytes.Load(); got == 0 || got > 2<<20 {
			t.Errorf("%d bytes are taken in although nobody wants them", got)
		}
		var got slow
		if _, err := io.CopyN(&got, struct{ io.Reader }{there}, 100_001); err != nil {
			t.Error(err)
		}
		go func() {
			_, err := there.WriteTo(&got)
			done <- err
		}()
		for range 2 {
			if err := <-done; err != nil {
				t.Error(err)
			}
		}
		if !bytes.Equal(got.Bytes(), sent) {
			t.Errorf("%d bytes came, not the %d that were sent, or others", got.Len(), len(sent))
		}
		if err := there.Close(); err != nil {
			t.Error(err)
		}
	})
}

// TestLinkIsClosed closes a link that has more than anybody takes.
func TestLinkIsClosed(t *testing.T) {
	t.Parallel()
	a, b := net.Pipe()
	here, there := worker.NewLink(a, func(worker.Word) {}), worker.NewLink(b, func(worker.Word) {})
	done := make(chan error, 1)
	go func() {
		_, err := here.Write(make([]byte, 8<<20))
		done <- err
	}()
	if _, err := there.Read(make([]byte, 1)); err != nil {
		t.Fatal(err)
	}
	if err := there.Close(); err != nil {
		t.Fatal(err)
	}
	if _, err := there.Read(make([]byte, 1)); err == nil {
		t.Error("a closed link is read")
	}
	<-there.Ended()
	if err := <-done; err == nil {
		t.Error("everything is sent to a closed link")
	}
	if err := here.Close(); err != nil {
		t.Fatal(err)
	}
}
