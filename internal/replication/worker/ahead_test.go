package worker_test

import (
	"bytes"
	"errors"
	"io"
	"net"
	"sync"
	"testing"
	"time"

	"github.com/atollhq/terraform-provider-atoll/internal/replication/worker"
)

// taker keeps what comes ahead, and is slow to put it where it belongs.
type taker struct {
	release chan struct{}

	mu     sync.Mutex
	came   bytes.Buffer
	closed bool
}

func (k *taker) Write(p []byte) (int, error) {
	k.mu.Lock()
	defer k.mu.Unlock()
	return k.came.Write(p)
}

func (k *taker) Close() error {
	<-k.release
	k.mu.Lock()
	defer k.mu.Unlock()
	k.closed = true
	return nil
}

// TestAhead sends something ahead of a program that speaks meanwhile: the other program hears nothing of that before all of it is where it belongs, and words are
// heard at any time.
func TestAhead(t *testing.T) {
	a, b := net.Pipe()
	words := make(chan worker.Word, 4)
	here, there := worker.NewLink(a, func(worker.Word) {}), worker.NewLink(b, func(w worker.Word) { words <- w })
	k := &taker{release: make(chan struct{})}
	ended := make(chan bool, 1)
	there.TakeAhead(func() io.WriteCloser { return k }, func(all bool) { ended <- all })

	content := bytes.Repeat([]byte("content"), 30_000) // several frames
	more := make(chan struct{})
	sent := here.Ahead(func(to io.Writer) error {
		if _, err := to.Write(content[:100]); err != nil {
			return err
		}
		<-more
		_, err := to.Write(content[100:])
		return err
	})
	spoke := make(chan error, 1)
	go func() {
		_, err := here.Write([]byte("unison"))
		spoke <- err
	}()
	if err := here.Say(worker.Word{Release: 7}); err != nil {
		t.Fatal(err)
	}
	if w := <-words; w.Release != 7 {
		t.Fatalf("the word is %+v", w)
	}
	select {
	case err := <-spoke:
		t.Fatalf("the program has spoken while something was sent ahead of it: %v", err)
	default:
	}
	close(more)
	heard := make(chan bool, 1)
	go func() {
		word := make([]byte, len("unison"))
		_, err := io.ReadFull(there, word)
		k.mu.Lock()
		defer k.mu.Unlock()
		heard <- err == nil && string(word) == "unison" && k.closed && bytes.Equal(k.came.Bytes(), content)
	}()
	select {
	case <-heard:
		t.Fatal("the other program has heard something before what came ahead was where it belongs")
	case <-time.After(20 * time.Millisecond): // it would take less
	}
	close(k.release)
	<-sent
	if err := <-spoke; err != nil {
		t.Error(err)
	}
	if !<-heard {
		t.Error("the other program has heard it before all came, or something else")
	}
	if !<-ended {
		t.Error("it had no end")
	}
	for _, l := range []*worker.Link{here, there} {
		if err := l.Close(); err != nil && !errors.Is(err, io.ErrClosedPipe) {
			t.Error(err)
		}
	}
}

// TestAheadIsCutOff ends a link in the middle of what is sent ahead: the sender fails, whoever takes it is told, and the program does not wait for ever.
func TestAheadIsCutOff(t *testing.T) {
	a, b := net.Pipe()
	here, there := worker.NewLink(a, func(worker.Word) {}), worker.NewLink(b, func(worker.Word) {})
	k := &taker{release: make(chan struct{})}
	close(k.release)
	ended := make(chan bool, 1)
	there.TakeAhead(func() io.WriteCloser { return k }, func(all bool) { ended <- all })
	begun, problem := make(chan struct{}), make(chan error, 1)
	sent := here.Ahead(func(to io.Writer) error {
		for first := true; ; first = false {
			if _, err := to.Write(make([]byte, 1000)); err != nil {
				problem <- err
				return err
			}
			if first {
				close(begun)
			}
		}
	})
	<-begun
	spoke := make(chan error, 1)
	go func() {
		_, err := here.Write([]byte("unison"))
		spoke <- err
	}()
	if err := there.Close(); err != nil {
		t.Error(err)
	}
	<-there.Ended()
	if <-ended {
		t.Error("what was cut off had an end")
	}
	if err := <-problem; err == nil {
		t.Error("it was sent all the same")
	}
	<-sent
	if err := <-spoke; err == nil {
		t.Error("the program has spoken over a link that has ended")
	}
	_ = here.Close()
}

// TestAheadIsWanted has the other side of a link say that it has nothing, and then that it wants no more.
func TestAheadIsWanted(t *testing.T) {
	a, b := net.Pipe()
	heard := make(chan worker.Word, 1)
	here, there := worker.NewLink(a, func(w worker.Word) { heard <- w }), worker.NewLink(b, func(worker.Word) {})
	if here.AheadWanted() {
		t.Error("something is wanted that nobody has asked for")
	}
	say := func(w worker.Word) {
		t.Helper()
		if err := there.Say(w); err != nil {
			t.Fatal(err)
		}
		<-heard
	}
	say(worker.Word{Bare: true})
	if say(worker.Word{Synced: true}); !here.AheadWanted() {
		t.Error("nothing is wanted though the other side has nothing")
	}
	say(worker.Word{Enough: true})
	problem := make(chan error, 1)
	sent := here.Ahead(func(to io.Writer) error {
		_, err := to.Write([]byte("more")) // nobody takes it, in any case
		problem <- err
		return err
	})
	if err := <-problem; err == nil {
		t.Error("more was sent")
	}
	<-sent
	_, _ = here.Close(), there.Close()
}
