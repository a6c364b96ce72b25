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

	"github.com/atollhq/terraform-provider-atoll/internal/api"
	"github.com/atollhq/terraform-provider-atoll/internal/spec"
)

// The nodes of the mesh's drills: what happens, happens between meshA and meshC. MeshB reaches both.
const (
	meshA = "hk1"
	meshB = "hk2"
	meshC = "sg1"
)

func meshDrills() []Drill {
	c := &Cluster{
		Name:    "a mesh of three nodes",
		Prepare: func(ctx context.Context, f *Field) error { return f.Apply(ctx) },
		Ready:   meshReady,
	}
	return []Drill{
		meshCut(c), meshOneWay(c), meshLossy(c, 20), meshLossy(c, 40), meshFlapping(c), meshNoUDP(c), meshSmall(c), meshNoWay(c),
	}
}

// meshReady demands that every pair has its direct link, measured to be well, and that no node leaves one alone.
func meshReady(ctx context.Context, f *Field) error {
	status, _, err := f.Status(ctx)
	if err != nil {
		return err
	}
	if len(status.Reasons) > 0 {
		return fmt.Errorf("not healthy: %v", status.Reasons)
	}
	if len(status.Links) != 3 {
		return fmt.Errorf("%d links", len(status.Links))
	}
	for name, link := range status.Links {
		if link.There.State != api.UpDirect || link.Back.State != api.UpDirect || len(link.Reports) != 2 {
			return fmt.Errorf("link %s is not direct or not measured: %+v", name, link)
		}
		for _, r := range link.Reports {
			if r.Condition != spec.LinkDirect || r.Steering != nil && r.Steering.Away {
				return fmt.Errorf("link %s: %+v", name, r)
			}
		}
	}
	return f.PingAll(ctx, meshA, meshB, meshC)
}

// reported waits until meshA or the node at the other end of a link says that it is in a condition, and, where cause is not empty, why.
func reported(ctx context.Context, f *Field, to string, condition spec.LinkCondition, cause spec.LinkCause) error {
	return f.Measure(ctx, fmt.Sprintf("the link between %s and %s is called %s", meshA, to, condition), time.Minute, func(ctx context.Context) error {
		status, _, err := f.Status(ctx)
		if err != nil {
			return err
		}
		link := status.Links[spec.LinkName(meshA, to)]
		for _, r := range link.Reports {
			if r.Condition == condition && (cause == "" || r.Cause == cause) {
				f.Note("%s says: %s", r.Node, r.Message)
				return nil
			}
		}
		return fmt.Errorf("it is said of it: %+v", link.Reports)
	})
}

// echoes are an application's packets over the mesh from one node to another, one every echoEvery. A drill has one value of it.
type echoes struct {
	from, to string
	// size is of their payload in bytes; ping's own when 0.
	size int

	input io.Closer
	done  chan struct{}

	mu sync.Mutex
	// sent is when the first was sent; answered are when answers came, by their numbers.
	sent     time.Time
	answered map[int]time.Time
	last     time.Time
	err      error
}

const (
	echoEvery   = 20 * time.Millisecond
	echoTimeout = time.Second
)

var _ Traffic = (*echoes)(nil)

var echoReply = regexp.MustCompile(`^\[(\d+\.\d+)\] \d+ bytes from .* icmp_seq=(\d+) .*time=([\d.]+) ms`)

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
	e.input, e.done, e.answered = stdin, make(chan struct{}), map[int]time.Time{}
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
	trip, err3 := strconv.ParseFloat(m[3], 64)
	e.mu.Lock()
	defer e.mu.Unlock()
	if err := errors.Join(err1, err2, err3); err != nil {
		e.err = err
		return
	}
	now := time.UnixMicro(int64(at * 1e6))
	if e.sent.IsZero() {
		e.sent = now.Add(-time.Duration(trip*float64(time.Millisecond)) - time.Duration(number-1)*echoEvery)
	}
	e.answered[number], e.last = now, now
}

// Calm implements Traffic: how long answers have been coming without a gap.
func (e *echoes) Calm() time.Duration {
	e.mu.Lock()
	defer e.mu.Unlock()
	if e.sent.IsZero() || time.Since(e.last) > echoTimeout {
		return 0
	}
	const window = 25 // half a second, of which one may be missing: some links go on losing a little
	newest := int(time.Since(e.sent)/echoEvery) - int(echoTimeout/echoEvery)
	for ; newest > window; newest -= window {
		missing := 0
		for i := range window {
			if _, ok := e.answered[newest-i]; !ok {
				missing++
			}
		}
		if missing > 1 {
			break
		}
	}
	return time.Since(e.sent.Add(time.Duration(newest) * echoEvery))
}

// Stop implements Traffic.
func (e *echoes) Stop(_ context.Context, fault time.Time) (Seen, error) {
	_ = e.input.Close() // the shell's read ends, and ping with it
	<-e.done
	e.mu.Lock()
	defer e.mu.Unlock()
	if e.err != nil || e.sent.IsZero() {
		return Seen{}, errors.Join(e.err, errors.New("the echoes"))
	}
	var s Seen
	gap, before := time.Duration(0), fault
	first := int(fault.Sub(e.sent)/echoEvery) + 1
	last := int(e.last.Sub(e.sent) / echoEvery)
	for n := first; n <= last; n++ {
		s.Asked++
		at, ok := e.answered[n]
		if !ok {
			s.Failed++
			s.Outage = e.sent.Add(time.Duration(n) * echoEvery).Sub(fault)
			continue
		}
		gap, before = max(gap, at.Sub(before)), at
	}
	s.Detail = fmt.Sprintf("longest gap between two answers %s; of the 60 s after the fault %.2f %% were answered; more than 99 %% in every second from second %d on",
		seconds(gap), 100*e.share(first, first+int(time.Minute/echoEvery)), e.until(first, last))
	return s, nil
}

// share is what part of the echoes from one number to another was answered. It is called with the lock held, or after Stop.
func (e *echoes) share(from, until int) float64 {
	answered := 0
	for n := from; n < until; n++ {
		if _, ok := e.answered[n]; ok {
			answered++
		}
	}
	return float64(answered) / float64(max(until-from, 1))
}

// until is the second after the fault from which on every second had more than 99 % of its answers.
func (e *echoes) until(first, last int) int {
	const perSecond = int(time.Second / echoEvery)
	second := 0
	for s := 0; first+(s+1)*perSecond <= last; s++ {
		if e.share(first+s*perSecond, first+(s+1)*perSecond) < 0.99 {
			second = s + 1
		}
	}
	return second
}

// promise demands of the minute after the fault a share of answers, and that after so many seconds none is missing.
func (e *echoes) promise(fault time.Time, share float64, within int) error {
	first := int(fault.Sub(e.sent)/echoEvery) + 1
	last := min(int(e.last.Sub(e.sent)/echoEvery), first+int(time.Minute/echoEvery))
	var errs []error
	if got := e.share(first, last); got < share {
		errs = append(errs, fmt.Errorf("%.2f %% of the echoes after the fault were answered, promised are %.2f %%", 100*got, 100*share))
	}
	if got := e.until(first, last); got > within {
		errs = append(errs, fmt.Errorf("answers were missing until second %d after the fault, promised is %d", got, within))
	}
	return errors.Join(errs...)
}
