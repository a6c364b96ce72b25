// Package rolecheck tells routers what the member of a database on this node is: whether it takes writes, or reads only. It speaks
// the protocol of HAProxy's agent checks (HAProxy's configuration manual, "agent-check"): the router connects, says what it asks
// for, and gets one line back. The question has no end of a line, which HAProxy's commands at run time could not hold.
//
//	> app/writer/
//	< up ready
//
// A router that gets no answer goes on with what it knew: the agent may be started again without a write being refused.
package rolecheck

import (
	"bufio"
	"context"
	"errors"
	"io"
	"net"
	"strings"
	"sync"
	"time"
)

// State is what a member is to routers.
type State int

// The states.
const (
	// None takes nothing: there is no member, or it is down, in no group, or not up to date.
	None State = iota
	// Unknown is not answered: a router goes on with what it knew. An agent that has just started knows nothing yet, and must not
	// have all connections cut for it.
	Unknown
	// Reader is up to date and takes no writes.
	Reader
	// Writer takes writes: it is the primary, and a majority follows it.
	Writer
)

// Question is what a router asks of a member.
type Question string

// The questions.
const (
	// IsWriter asks whether connections for writes may come, IsReader whether those for reads may.
	IsWriter Question = "writer"
	IsReader Question = "reader"
)

// Of returns what a router sends.
func (q Question) Of(database string) string { return database + "/" + string(q) + "/" }

// What a router is told. "ready" lets in a server that is configured as disabled, so that a router that has just started uses none
// before it was told of one.
const (
	yes = "up ready\n"
	no  = "down\n"
)

const (
	// patience bounds one conversation.
	patience = time.Second
	// maxQuestion is longer than any name with a question.
	maxQuestion = 128
	// maxConversations is how many routers may ask at once; others wait.
	maxConversations = 64
)

// Server answers routers.
type Server struct {
	// State returns what the member of a database on this node is. It is called for every question, by several goroutines, and
	// answers from memory.
	State func(database string) State
}

// Serve answers whoever connects to l, until ctx ends. It closes l, and returns nil when ctx has ended.
func (s *Server) Serve(ctx context.Context, l net.Listener) error {
	stop := context.AfterFunc(ctx, func() { _ = l.Close() })
	defer stop()
	var all sync.WaitGroup
	defer all.Wait()
	room := make(chan struct{}, maxConversations)
	for {
		conn, err := l.Accept()
		if err != nil {
			if ctx.Err() != nil {
				return nil //nolint:nilerr // that is how it ends
			}
			var failed net.Error
			if errors.As(err, &failed) && failed.Timeout() {
				continue
			}
			_ = l.Close() // the error of Accept says more
			return err
		}
		room <- struct{}{}
		all.Go(func() {
			defer func() { <-room }()
			s.answer(conn)
		})
	}
}

// answer has one conversation. Whoever asks for something else, or nothing, is told no.
func (s *Server) answer(conn net.Conn) {
	defer func() { _ = conn.Close() }() // a router that is gone asks again
	if err := conn.SetDeadline(time.Now().Add(patience)); err != nil {
		return
	}
	in := bufio.NewReaderSize(io.LimitReader(conn, maxQuestion), maxQuestion)
	database, err := in.ReadString('/')
	if err != nil {
		return
	}
	question, err := in.ReadString('/')
	if err != nil {
		return
	}
	database, question = strings.TrimSuffix(database, "/"), strings.TrimSuffix(question, "/")
	state := s.State(database)
	if state == Unknown {
		return
	}
	said := no
	if Question(question) == IsWriter && state == Writer || Question(question) == IsReader && state == Reader {
		said = yes
	}
	_, _ = io.WriteString(conn, said) // as above
}
