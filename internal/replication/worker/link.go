package worker

import (
	"bufio"
	"encoding/binary"
	"encoding/json"
	"fmt"
	"io"
	"slices"
	"sync"
	"sync/atomic"
	"time"
)

// Link is a stream between the two workers of a pair, which carries the bytes of their programs and words of their own. Reading and
// writing are the program's. Its methods are safe for concurrent use.
//
// On the stream there are frames: a byte that says what it is, the length in four bytes, big-endian, and that much of it.
type Link struct {
	stream io.ReadWriteCloser
	heard  func(Word)
	in     *inbox
	ended  chan struct{}
	hello  chan Word
	// waits is since when nothing has come, in nanoseconds since began; 0 while something is being taken in.
	waits atomic.Int64
	began time.Time

	mu sync.Mutex
	// out is what is being sent.
	out []byte

	ahead ahead
}

// Word is what one worker tells the other. Unknown fields are left alone, so that workers of different versions get along.
type Word struct {
	// Hello is the first word of the leader: it works over this stream now. The other side says it, too, where it is asked something.
	Hello bool `json:"hello,omitempty"`
	// Asks tells, with the leader's Hello, that the pair takes turns with another one as far as the sender knows, and Carry, with the Hello that
	// answers it, that it is this one's turn.
	Asks  bool `json:"asks,omitempty"`
	Carry bool `json:"carry,omitempty"`
	// Problem is what keeps the sender from working, "" for nothing.
	Problem string `json:"problem,omitempty"`
	// Release is the round of changes that the sender's monitor answers now; the other's has to answer, too.
	Release int `json:"release,omitempty"`
	// Look are paths that the receiver's program has to look at again, though nothing is known to have changed.
	Look Paths `json:"look,omitempty"`
	// Tidy are directories in which the sender's program fails again and again.
	Tidy Paths `json:"tidy,omitempty"`
	// Misread tells that the sender's program has met a file whose content it knows wrongly, on either side: what programs have kept of
	// contents is not to be relied upon.
	Misread bool `json:"misread,omitempty"`
	// Forget tells that what is known of earlier synchronizations is of no use, on either side.
	Forget bool `json:"forget,omitempty"`
	// Bare tells that the sender's tree has nothing, and its program knows of nothing: what the receiver has may come ahead (package ahead). Enough tells
	// that no more of that is of any use.
	Bare   bool `json:"bare,omitempty"`
	Enough bool `json:"enough,omitempty"`
	// Synced tells that both sides were just found equal, as far as the leader can tell.
	Synced bool `json:"synced,omitempty"`
}

const (
	frameData byte = 'd'
	frameWord byte = 'w'
	// maxFrame bounds what has to be kept of a frame, in bytes; dataFrame is how much is sent in one, so that a stream that is held back is seen to
	// live. Frames that are there at once are sent together, up to maxSent, and read together: each turn of another program's costs time.
	maxFrame  = 64 << 10
	dataFrame = 16 << 10
	maxSent   = 64 << 10
	// signInterval is how often a worker gives a sign of life, and silence how long none may come until the stream counts as broken. A
	// connection whose other end is gone without a word looks like one over which nothing has to be said.
	signInterval = 2 * time.Second
	silence      = 12 * time.Second
	// frameHead is the length of what comes before a frame's content.
	frameHead = 5
)

// NewLink takes a stream over. Heard is called for each word of the other side, one after the other; what it does holds up the stream.
func NewLink(stream io.ReadWriteCloser, heard func(Word)) *Link {
	l := &Link{stream: stream, heard: heard, in: newInbox(), ended: make(chan struct{}), hello: make(chan Word, 1), began: time.Now()}
	go func() {
		defer close(l.ended)
		err := l.receive()
		l.ahead.over(false)
		l.in.end(err)
	}()
	go l.keepAlive()
	return l
}

// Ended is closed when nothing comes any more.
func (l *Link) Ended() <-chan struct{} { return l.ended }

// Hello returns the other side's first word.
func (l *Link) Hello() <-chan Word { return l.hello }

// Read implements io.Reader with the other program's bytes.
func (l *Link) Read(p []byte) (int, error) { return l.in.Read(p) }

// WriteTo implements io.WriterTo with the other program's bytes.
func (l *Link) WriteTo(w io.Writer) (int64, error) { return l.in.WriteTo(w) }

// Write implements io.Writer for the other program.
func (l *Link) Write(p []byte) (int, error) {
	done := 0
	for done < len(p) {
		n := min(len(p)-done, maxSent)
		if !l.ahead.pass(l.ended) {
			return done, io.ErrClosedPipe
		}
		if err := l.send(frameData, p[done:done+n]); err != nil {
			return done, err
		}
		done += n
	}
	return done, nil
}

// Say tells the other worker something, in several words where there is much to say.
func (l *Link) Say(w Word) error {
	for _, part := range w.parts() {
		data, err := json.Marshal(part)
		if err != nil {
			return err
		}
		if err := l.send(frameWord, data); err != nil {
			return err
		}
	}
	return nil
}

// Close ends the stream.
func (l *Link) Close() error {
	l.in.close()
	return l.stream.Close()
}

// keepAlive gives signs of life, and ends the stream when none comes.
func (l *Link) keepAlive() {
	tick := time.NewTicker(signInterval)
	defer tick.Stop()
	signs := make(chan struct{}, 1)
	defer close(signs)
	go func() {
		for range signs {
			_ = l.Say(Word{}) // it may wait behind what the program has to say
		}
	}()
	for {
		select {
		case <-l.ended:
			return
		case <-tick.C:
			poke(signs)
			if since := l.waits.Load(); since != 0 && time.Since(l.began)-time.Duration(since) > silence {
				_ = l.stream.Close() // reading says how that ended
			}
		}
	}
}

// send sends data in frames of one kind; a word has to be in one of its own.
func (l *Link) send(kind byte, data []byte) error {
	most := maxFrame
	if kind != frameWord {
		most = dataFrame
	}
	l.mu.Lock()
	defer l.mu.Unlock()
	l.out = l.out[:0]
	for first := true; first || len(data) > 0; first = false {
		part := data[:min(len(data), most)]
		data = data[len(part):]
		l.out = append(l.out, kind)
		l.out = binary.BigEndian.AppendUint32(l.out, uint32(len(part)))
		l.out = append(l.out, part...)
	}
	_, err := l.stream.Write(l.out)
	return err
}

func (l *Link) receive() error {
	var head [frameHead]byte
	var word []byte
	stream := bufio.NewReaderSize(l.stream, inboxPart)
	for {
		l.waits.Store(max(1, int64(time.Since(l.began))))
		if _, err := io.ReadFull(stream, head[:]); err != nil {
			return err
		}
		size := binary.BigEndian.Uint32(head[1:])
		if size > maxFrame {
			return fmt.Errorf("a frame of %d bytes, more than %d: the other side speaks another language", size, maxFrame)
		}
		var data []byte
		if head[0] == frameData {
			data = l.in.room(int(size))
		} else {
			word = slices.Grow(word[:0], int(size))
			data = word[:size]
		}
		if _, err := io.ReadFull(stream, data); err != nil {
			return err
		}
		l.waits.Store(0)
		switch head[0] {
		case frameData:
			if err := l.in.put(data); err != nil {
				return err
			}
		case frameAhead:
			l.ahead.take(data)
		case frameWord:
			var w Word
			if err := json.Unmarshal(data, &w); err != nil {
				return fmt.Errorf("a word of the other side: %w", err)
			}
			if w.Hello {
				select {
				case l.hello <- w:
				default: // it is said once
				}
			}
			l.ahead.heard(w)
			l.heard(w)
		}
	}
}
