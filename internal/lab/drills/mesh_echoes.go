//go:build linux

package drills

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"io"
	"regexp"
	"strconv"
	"sync"
	"time"
)

// echoes are an application's packets over the mesh from one node to another, one every echoEvery. A drill has one value of it.
type echoes struct {
	line
	// size is of their payload in bytes; ping's own when 0.
	size int

	input io.Closer
	done  chan struct{}

	mu sync.Mutex
	// answers are those that came, in the order of their numbers; echoes are never overtaken in a lab.
	answers []answer
	// disturbed is when last more than one was missing of window.
	disturbed time.Time
}

// answer is when the echo of that number was answered.
type answer struct {
	number int
	at     time.Time
}

const (
	echoEvery   = 20 * time.Millisecond
	echoTimeout = time.Second
	// window is how many echoes in a row one may be missing of: some links go on losing a little.
	window = 25
)

var _ Traffic = (*echoes)(nil)

var echoReply = regexp.MustCompile(`^\[(\d+\.\d+)\] \d+ bytes from .* icmp_seq=(\d+) `)

// begin is a drill's Traffic.
func (e *echoes) begin(ctx context.Context, f *Field) (Traffic, error) {
	address, err := f.MeshAddress(ctx, e.to)
	if err != nil {
		return nil, err
	}
	argv := []string{"sh", "-c", `ping -D -n -s "$1" -i "$2" "$3" & child=$!; read x; kill -INT $child; wait $child`, "sh", strconv.Itoa(max(e.size, 56)), fmt.Sprintf("%.2f", echoEvery.Seconds()), address}
	// It ends with its input, whatever becomes of the drill.
	cmd, err := f.Command(context.WithoutCancel(ctx), e.from, argv...)
	if err != nil {
		return nil, err
	}
	stdin, err := cmd.StdinPipe()
	if err != nil {
		return nil, err
	}
	stdout, err := cmd.StdoutPipe()
	if err != nil {
		return nil, err
	}
	if err := cmd.Start(); err != nil {
		return nil, fmt.Errorf("send echoes from %s: %w", e.from, err)
	}
	e.input, e.done, e.disturbed, e.answers = stdin, make(chan struct{}), time.Now(), nil
	go func() {
		defer close(e.done)
		for lines := bufio.NewScanner(stdout); lines.Scan(); {
			e.note(lines.Text())
		}
		// Ping says by its status whether any answer is missing.
		_ = cmd.Wait()
	}()
	return e, nil
}

func (e *echoes) note(line string) {
	m := echoReply.FindStringSubmatch(line)
	if m == nil {
		return
	}
	at, err1 := strconv.ParseFloat(m[1], 64)
	number, err2 := strconv.Atoi(m[2])
	if errors.Join(err1, err2) != nil {
		return // numbers that the expression does not let through
	}
	e.mu.Lock()
	defer e.mu.Unlock()
	if n := len(e.answers); n > 0 && number <= e.answers[n-1].number {
		return // twice
	}
	e.answers = append(e.answers, answer{number, time.UnixMicro(int64(at * 1e6))})
	if n := len(e.answers); n >= window && number-e.answers[n-window].number > window {
		e.disturbed = time.Now()
	}
}

// Calm implements Traffic: how long answers have been coming without gaps.
func (e *echoes) Calm() time.Duration {
	e.mu.Lock()
	defer e.mu.Unlock()
	if n := len(e.answers); n == 0 || time.Since(e.answers[n-1].at) > echoTimeout {
		return 0
	}
	return time.Since(e.disturbed)
}

// Stop implements Traffic.
func (e *echoes) Stop(_ context.Context, fault time.Time) (Seen, error) {
	_ = e.input.Close() // the shell's read ends, and ping with it
	<-e.done
	e.mu.Lock()
	defer e.mu.Unlock()
	if len(e.answers) == 0 {
		return Seen{}, errors.New("no echo was answered")
	}
	return e.seen(fault), nil
}

// seen is what became of the echoes after a fault. It is called with the lock held, or after Stop.
func (e *echoes) seen(fault time.Time) Seen {
	var s Seen
	for i, a := range e.answers {
		if i == 0 || a.at.Before(fault) {
			continue
		}
		before := e.answers[i-1]
		s.Asked += a.number - before.number
		if missing := a.number - before.number - 1; missing > 0 {
			s.Failed += missing
			s.Outage = a.at.Sub(fault)
		}
	}
	share, until := e.minute(fault)
	s.Detail = fmt.Sprintf("longest gap between two answers %s; of the minute after the fault %.2f %% were answered; more than 99 %% in every second from second %d on",
		seconds(e.longestGap(fault)), 100*share, until)
	return s
}

// minute is what share of the echoes of the minute after a fault was answered, and the second from which on every second of it had more
// than 99 % of its answers. An echo that was not answered belongs to the second of the next answer. It is called with the lock held, or
// after Stop.
func (e *echoes) minute(fault time.Time) (share float64, until int) {
	var asked, answered [60]int
	for i, a := range e.answers {
		second := int(a.at.Sub(fault) / time.Second)
		if i == 0 || a.at.Before(fault) || second >= len(asked) {
			continue
		}
		answered[second]++
		asked[second] += a.number - e.answers[i-1].number
	}
	all, good := 0, 0
	for second := range asked {
		all, good = all+asked[second], good+answered[second]
		if float64(answered[second]) < 0.99*float64(asked[second]) {
			until = second + 1
		}
	}
	return float64(good) / float64(max(all, 1)), until
}

// longestGap is the longest time between two answers after a moment.
func (e *echoes) longestGap(from time.Time) time.Duration {
	var gap time.Duration
	for i, a := range e.answers {
		if i > 0 && a.at.After(from) {
			gap = max(gap, a.at.Sub(e.answers[i-1].at))
		}
	}
	return gap
}

// missing counts the echoes after a moment that were not answered.
func (e *echoes) missing(from time.Time) int {
	n := 0
	for i, a := range e.answers {
		if i > 0 && a.at.After(from) {
			n += a.number - e.answers[i-1].number - 1
		}
	}
	return n
}

// promise demands of the minute after the fault a share of answers, and that after so many seconds none is missing.
func (e *echoes) promise(fault time.Time, share float64, within int) error {
	got, until := e.minute(fault)
	var errs []error
	if got < share {
		errs = append(errs, fmt.Errorf("%.2f %% of the echoes of the minute after the fault were answered, promised are %.2f %%", 100*got, 100*share))
	}
	if until > within {
		errs = append(errs, fmt.Errorf("answers were missing until second %d after the fault, promised is %d", until, within))
	}
	return errors.Join(errs...)
}
