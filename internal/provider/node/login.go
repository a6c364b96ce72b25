package node

import (
	"context"
	"time"

	"github.com/hashicorp/terraform-plugin-framework/diag"

	"github.com/atollhq/terraform-provider-atoll/internal/provider/adoption"
)

// How long a machine that is let go may take to let the operator in, and how much longer than the eviction when its agent
// does not answer either: it is not about to boot.
const (
	farewellDial   = 10 * time.Second
	farewellSilent = 2 * time.Second
)

// login is the way to a machine, begun while something else is done.
type login struct {
	done    chan struct{}
	machine *adoption.Machine
	err     error
	// end gives it up.
	end context.CancelFunc
}

// beforeRemoval begins to log in, since a dead machine takes long to show that it is dead.
func (sshMachine) beforeRemoval(ctx context.Context, t *task) diag.Diagnostics {
	host, ok, diags := t.model.host(ctx)
	if !ok {
		return diags
	}
	cfg := t.op.Adoption()
	if cfg.Timeout == 0 {
		cfg.Timeout = farewellDial
	}
	dial, end := context.WithCancel(ctx)
	t.login = &login{done: make(chan struct{}), end: end}
	go func() {
		defer close(t.login.done)
		t.login.machine, t.login.err = adoption.Dial(dial, cfg, host)
	}()
	return diags
}

// wait returns the machine, which is the caller's to close. From a silent one not much more is expected.
func (l *login) wait(silent bool) (*adoption.Machine, error) {
	if silent {
		defer time.AfterFunc(farewellSilent, l.end).Stop()
	}
	<-l.done
	m := l.machine
	l.machine = nil
	return m, l.err
}

// close gives the login up, unless the machine was taken. It may be nil.
func (l *login) close() {
	if l == nil {
		return
	}
	l.end()
	<-l.done
	if l.machine != nil {
		l.machine.Close()
	}
}
