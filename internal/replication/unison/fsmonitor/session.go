package fsmonitor

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"strings"

	"github.com/atollhq/terraform-provider-atoll/internal/replication/watch"
)

// longestLine has room for a START with two paths of the kernel's greatest length, all of it encoded.
const longestLine = 64 << 10

// asked is the answer that a unison waits for.
type asked int

const (
	nothing asked = iota
	wait          // WAIT: tell it as soon as there are changes
	changes       // CHANGES, held back
	scan          // START of another scan of everything, held back
)

// session is one connection. What is below mu of its monitor is so here, too.
type session struct {
	monitor *Monitor
	conn    io.ReadWriter
	wake    chan struct{}
	end     context.CancelCauseFunc

	// Below the monitor's mu.
	asked    asked
	round    int  // how often unison has looked for changes over this connection; both sides of a pair count alike
	released int  // the round that is to be answered whatever there is
	once     bool // the next answer is to be given whatever there is

	// Only serve's goroutine touches these.
	hash string
	full bool // the next START begins a scan of everything
}

// poke has the loop look whether it can answer, with the monitor's mu held.
func (s *session) poke() {
	select {
	case s.wake <- struct{}{}:
	default:
	}
}

// next is the round in which unison is told what there is by now, with the monitor's mu held.
func (s *session) next() int {
	if s.asked == changes || s.asked == scan {
		return s.round
	}
	return s.round + 1
}

// release is Monitor.Release. The other side is in the same round, or one ahead. Any other number comes from a side whose
// unison has lost its monitor and counts anew, or is very late: one needless round is nothing against one that never ends.
func (s *session) release(round int) {
	if round == s.round || round == s.round+1 {
		s.released = round
	} else {
		s.once = true
	}
	s.poke()
}

// refusal is what unison is told when it is refused, and what Serve returns.
type refusal struct{ err error }

func (e *refusal) Error() string { return e.err.Error() }

func (e *refusal) Unwrap() error { return e.err }

func (s *session) serve(ctx context.Context) error {
	err := s.converse(ctx)
	var refused *refusal
	if errors.As(err, &refused) {
		// Unison ends with this message; whether it still listens does not matter.
		_ = s.say("ERROR " + Quote(refused.Error()))
		return refused.err
	}
	if cause := context.Cause(ctx); cause != nil {
		return cause
	}
	if errors.Is(err, io.EOF) || errors.Is(err, net.ErrClosed) || errors.Is(err, io.ErrClosedPipe) {
		return nil
	}
	return err
}

// converse reads commands and answers them.
func (s *session) converse(ctx context.Context) error {
	if err := s.say("VERSION 1"); err != nil {
		return err
	}
	s.full = true
	lines, ended := make(chan string), make(chan error, 1)
	go func() {
		scanner := bufio.NewScanner(s.conn)
		scanner.Buffer(make([]byte, 0, 4096), longestLine)
		for scanner.Scan() {
			select {
			case lines <- scanner.Text():
			case <-ctx.Done():
				return
			}
		}
		if err := scanner.Err(); err != nil {
			ended <- fmt.Errorf("read unison's commands: %w", err)
		}
		ended <- io.EOF
	}()
	for {
		var err error
		select {
		case line := <-lines:
			err = s.command(line)
		case <-s.wake:
			err = s.answer()
		case err = <-ended:
		case <-ctx.Done():
			err = ctx.Err()
		}
		if err != nil {
			return err
		}
	}
}

// say writes lines.
func (s *session) say(lines ...string) error {
	if _, err := io.WriteString(s.conn, strings.Join(lines, "\n")+"\n"); err != nil {
		return fmt.Errorf("answer unison: %w", err)
	}
	return nil
}

// command answers one line.
func (s *session) command(line string) error {
	word, rest, _ := strings.Cut(line, " ")
	var arguments []string
	if rest != "" {
		for argument := range strings.SplitSeq(rest, " ") {
			plain, err := Unquote(argument)
			if err != nil {
				return &refusal{fmt.Errorf("unison says %q: %w", line, err)}
			}
			arguments = append(arguments, plain)
		}
	}
	argument := func(i int) string {
		if i < len(arguments) {
			return arguments[i]
		}
		return ""
	}
	if word != "WAIT" {
		s.ask(nothing, false) // any command but another WAIT takes one back
	}
	switch word {
	case "VERSION", "DEBUG", "DONE":
		return nil
	case "START":
		return s.start(argument(0), argument(1), argument(2))
	case "DIR", "LINK":
		return s.say("OK") // the whole tree is watched already
	case "WAIT":
		if err := s.known(argument(0)); err != nil {
			return err
		}
		s.ask(wait, false)
		return s.answer()
	case "CHANGES":
		if err := s.known(argument(0)); err != nil {
			return err
		}
		s.ask(changes, true)
		return s.answer()
	case "RESET":
		s.full = true
		return nil
	default:
		return &refusal{fmt.Errorf("unison says %q, which version 1 of its protocol does not have", line)}
	}
}

// ask notes what unison waits for, and that it has begun another round.
func (s *session) ask(what asked, round bool) {
	s.monitor.mu.Lock()
	defer s.monitor.mu.Unlock()
	s.asked = what
	if round {
		s.round++
	}
}

// known refuses questions for another replica than the one that was scanned.
func (s *session) known(hash string) error {
	if hash != s.hash {
		return &refusal{fmt.Errorf("unison asks for the replica %q and has scanned %q", hash, s.hash)}
	}
	return nil
}

// start answers START: unison is about to read a part of the tree.
func (s *session) start(hash, fspath, path string) error {
	m := s.monitor
	if !m.sameDirectory(fspath) {
		return &refusal{fmt.Errorf("unison scans %s and changes are watched in %s", fspath, m.options.Root)}
	}
	s.hash = hash
	if !s.full || path != "" {
		m.options.Event(Event{Kind: Scanning, Path: path})
		return s.say("OK")
	}
	s.full = false
	s.ask(scan, true)
	return s.answer()
}

// answer gives unison the answer that it waits for, if it can be given.
func (s *session) answer() error {
	m := s.monitor
	m.mu.Lock()
	what, round := s.asked, s.round
	has := m.pending.Len() > 0
	// The first scan of a connection is held back by nothing.
	due := what != nothing && (has || what != wait && (!m.options.Hold || s.released >= round || s.once || what == scan && round == 1))
	if !due {
		m.mu.Unlock()
		if what != nothing {
			m.options.Event(Event{Kind: Waiting})
		}
		return nil
	}
	s.asked, s.once = nothing, false
	var batch watch.Batch
	if what != wait {
		// A scan of everything sees whatever has happened until now.
		batch = m.pending.Take()
	}
	m.mu.Unlock()
	if what != wait {
		if err := m.options.Gate(); err != nil {
			m.putBack(batch)
			return &refusal{err}
		}
		if has && m.options.Hold {
			m.options.Woken(round)
		}
	}
	switch what {
	case wait:
		return s.say("CHANGES " + Quote(s.hash))
	case scan:
		m.options.Event(Event{Kind: Scanning})
		return s.say("OK")
	default:
		return s.tell(batch)
	}
}

// tell answers CHANGES.
func (s *session) tell(batch watch.Batch) error {
	m := s.monitor
	var lines []string
	if batch.All {
		m.options.Log.Info("unison is told to scan everything", "root", m.options.Root, "reason", batch.Reason)
		lines = append(lines, "RECURSIVE ")
	}
	for _, c := range batch.Changes {
		lines = append(lines, "RECURSIVE "+Quote(c.Path))
	}
	m.options.Event(Event{Kind: Told, Count: len(lines)})
	if err := s.say(append(lines, "DONE")...); err != nil {
		m.putBack(batch)
		return err
	}
	return nil
}

// putBack keeps changes that unison could not be told of.
func (m *Monitor) putBack(batch watch.Batch) {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.pending.AddBatch(batch)
}
