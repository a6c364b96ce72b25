package worker

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"os/exec"
	"time"

	"github.com/atollhq/terraform-provider-atoll/internal/replication/guard"
)

// stopWithin is how long a program may take to end by itself before it is killed.
const stopWithin = 2 * time.Second

// Program is a program that runs as the account that the tree belongs to.
type Program struct {
	cmd    *exec.Cmd
	exited chan struct{}
	err    error
}

// Start starts a command as the tree's account in its home directory. One program runs at a time: an earlier worker's that lives on is ended
// first, and by the time before is called, none runs. The program is ended when ctx is.
func (h *Host) Start(ctx context.Context, cmd *exec.Cmd, before func() error) (*Program, error) {
	if err := h.endEarlier(ctx); err != nil {
		return nil, err
	}
	if err := before(); err != nil {
		return nil, err
	}
	h.starts()
	cmd.Dir = h.Config.Home()
	guarded, err := guard.Wrap(cmd, h.Config.shim())
	if err != nil {
		return nil, err
	}
	wait, err := startAs(cmd, h.Account)
	if err := errors.Join(err, guarded.Started()); err != nil {
		return nil, fmt.Errorf("start %s: %w", cmd.Args[1], errors.Join(err, guarded.Close()))
	}
	served := h.serve(guarded, func() { _ = killGroup(cmd.Process.Pid, true) }) //nolint:contextcheck // it lasts as long as the program
	p := &Program{cmd: cmd, exited: make(chan struct{})}
	h.mu.Lock()
	h.began = time.Now()
	h.mu.Unlock()
	id, idErr := identify(cmd.Process.Pid)
	if idErr == nil {
		idErr = h.state.setProgram(id)
	}
	h.board.set(func() { h.board.program = cmd.Process.Pid })
	go func() {
		p.err = wait()
		_ = killGroup(cmd.Process.Pid, true) // what it has left, if anything
		if ctx.Err() == nil {
			h.sweep()
		}
		select {
		case <-served: // which is when all that it guards have ended
		case <-time.After(stopWithin): // kernels before 5.8 do not tell
		}
		h.after.drain() //nolint:contextcheck // the program has ended, whatever was to end with it
		// Another process may get its id.
		h.board.set(func() { h.board.program = 0 })
		close(p.exited)
	}()
	if idErr != nil {
		return nil, errors.Join(idErr, killGroup(cmd.Process.Pid, true), p.Wait())
	}
	context.AfterFunc(ctx, p.stop)
	return p, nil
}

// endEarlier ends the program of an earlier worker, if it lives on.
func (h *Host) endEarlier(ctx context.Context) error {
	if p := h.state.program(); p != nil {
		return p.end(ctx)
	}
	return nil
}

// PID returns the program's process id.
func (p *Program) PID() int { return p.cmd.Process.Pid }

// Exited is closed when the program has ended.
func (p *Program) Exited() <-chan struct{} { return p.exited }

// Wait returns when the program has ended, and how.
func (p *Program) Wait() error {
	<-p.exited
	return p.err
}

func (p *Program) stop() {
	pid := p.cmd.Process.Pid
	_ = killGroup(pid, false) // what follows ends it in any case
	select {
	case <-p.exited:
	case <-time.After(stopWithin):
		_ = killGroup(pid, true)
		<-p.exited
	}
}

// CameFrom tells whether the other end of a connection over a Unix socket is the program itself.
func (p *Program) CameFrom(conn *net.UnixConn) bool {
	raw, err := conn.SyscallConn()
	if err != nil {
		return false
	}
	pid, err := peerOf(raw)
	return err == nil && pid == p.PID()
}

// Join copies each way between two connections until one of them ends, and closes both.
func Join(a, b io.ReadWriteCloser) error {
	done := make(chan error, 2)
	for _, way := range [][2]io.ReadWriteCloser{{a, b}, {b, a}} {
		go func() {
			done <- carry(way[0], way[1])
		}()
	}
	err := <-done
	closeErr := errors.Join(a.Close(), b.Close())
	if second := <-done; err == nil {
		err = second
	}
	if err == nil || errors.Is(err, net.ErrClosed) || errors.Is(err, io.ErrClosedPipe) {
		err = closeErr
	}
	return err
}

// carry copies until from ends. The more is copied at a time, the less often another program has to wait for its turn.
func carry(to io.Writer, from io.Reader) error {
	if link, ok := from.(*Link); ok {
		_, err := link.WriteTo(to)
		return err
	}
	// What sockets do by themselves, when they are asked to, is done in small pieces.
	_, err := io.CopyBuffer(struct{ io.Writer }{to}, struct{ io.Reader }{from}, make([]byte, inboxPart))
	return err
}
