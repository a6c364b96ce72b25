package unison

import (
	"context"
	"errors"
	"io"
	"maps"
	"net"
	"os"
	"strings"
	"time"

	"github.com/atollhq/terraform-provider-atoll/internal/replication/worker"
)

// lead runs unison's client over a link.
func (e *engine) lead(ctx context.Context, link *worker.Link) error {
	carries, err := e.host.Agree(ctx, link, worker.Word{Forget: e.distrusts()})
	if err != nil {
		return err
	}
	if carries {
		if err := e.offerRoom(link); err != nil {
			return err
		}
	}
	if err := e.writeProfile(carries); err != nil {
		return err
	}
	listener, err := worker.ListenUnix(ctx, e.socket("tunnel"), e.host.Account)
	if err != nil {
		return err
	}
	defer func() { _ = listener.Close() }()
	output, input, err := os.Pipe()
	if err != nil {
		return err
	}
	defer func() { _ = output.Close() }()
	thorough, behind := carries && e.begunThoroughly(), carries && e.host.Behind()
	cmd := e.command(Arguments(e.host.Config, e.socket("tunnel"), thorough, behind)...)
	cmd.Stdout, cmd.Stderr = input, input
	e.skipped.clear()
	program, err := e.host.Start(ctx, cmd, func() error { return e.ready(carries) })
	_ = input.Close() // unison has it
	if err != nil {
		return err
	}
	if carries {
		go e.recheck(ctx, link)
	} else {
		go e.compare(ctx, link)
	}
	joined := make(chan error, 1)
	go func() { joined <- e.tunnel(listener, program, link) }()
	var fatal string
	rounds, once := 0, false
	said := &lastWords{}
	read := make(chan error, 1)
	go func() {
		read <- ReadRounds(io.TeeReader(output, said), func(r Round) {
			if fatal = r.Fatal; fatal == "" {
				switch rounds++; {
				case e.fresh.is() && !behind: // nobody is told before it has begun again
				case carries:
					e.round(link, r)
				default:
					e.observed(r, rounds == 1)
				}
				if e.fresh.is() || thorough || behind && !e.host.Behind() {
					once = true
					_ = link.Close() // the next start is one as usual
				}
			}
		})
	}()
	<-program.Exited()
	err = errors.Join(ignoreClosed(listener.Close()), ignoreClosed(link.Close()), ignoreClosed(<-joined), <-read)
	e.logEnd(ctx, program, said.String())
	if rounds > 0 {
		e.wasOfUse()
	}
	if fatal = lastOf(fatal, program.Wait()); fatal == "" || ctx.Err() != nil || once {
		return err
	}
	return e.judge(fatal, rounds > 0)
}

// tunnel joins the connection that unison makes with a link.
func (e *engine) tunnel(listener *net.UnixListener, program *worker.Program, link *worker.Link) error {
	for {
		c, err := listener.AcceptUnix()
		if err != nil {
			return nil //nolint:nilerr // it is closed when unison has ended
		}
		if !program.CameFrom(c) {
			e.host.Log.Warn("a stranger at the tunnel's socket is sent away")
			_ = c.Close()
			continue
		}
		return worker.Join(c, link)
	}
}

// round takes in what came of a round.
func (e *engine) round(link *worker.Link, r Round) {
	delete(r.Failed, e.host.Config.PaceFile())
	due := e.untidy.round(r.Failed, time.Now()) // what is no failure to speak of leaves an unfinished file as well
	maps.DeleteFunc(r.Failed, overtaken)
	e.host.Log.Debug("unison has finished a round", "failed", len(r.Failed), "skipped", len(r.Skipped), "one that failed", oneOf(r.Failed))
	failing := e.skipped.round(r, time.Now())
	e.host.Failing(failing)
	if !failing.Short {
		e.host.Settled()
	}
	if misread(r.Failed) {
		e.sayMisread(link)
	}
	if len(due) > 0 {
		e.host.Tidy(due, e.Unfinished)
	}
	_ = link.Say(worker.Word{Synced: !failing.Short, Tidy: due}) // the link may be gone
}

// oneOf returns one of the paths that failed, with why; "" of none.
func oneOf(failed map[string]string) string {
	for path, reason := range failed {
		return path + ": " + reason
	}
	return ""
}

// overtaken tells whether what failed is a canary that the next one was written over, on machines that are slow: how long canaries take is measured, and all that
// is to be said of them.
func overtaken(path, reason string) bool {
	return strings.HasPrefix(path, worker.CanaryDir+"/") && strings.Contains(reason, "has been modified during synchronization")
}
