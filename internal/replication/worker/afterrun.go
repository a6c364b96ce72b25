package worker

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"os/exec"
	"os/user"
	"strings"
	"sync"
	"time"
)

const (
	// afterAskPause is how long a worker that is not there is left alone.
	afterAskPause = time.Second
	// afterSaid is how much is kept of the end of what a command says, in bytes, afterShown how much of that is shown to others, afterLines how many lines.
	afterSaid  = 4 << 10
	afterShown = 600
	afterLines = 5
	// afterLeft is for how long what a command has started and left behind may keep its output open.
	afterLeft = time.Second
)

// RunAfter runs the command after changes each time that the worker at a socket (Config.AfterSocket) has it run, one at a time, until ctx ends, which is
// no error and ends the command, too. Workers come and go: how a command has ended is told to one that still knows of it.
func RunAfter(ctx context.Context, socket string, log *slog.Logger) error {
	client := NewClient(socket, nil)
	for ctx.Err() == nil {
		work, err := client.nextWork(ctx)
		if err != nil {
			pauseFor(ctx, afterAskPause)
			continue
		}
		result := work.run(ctx, log)
		for ctx.Err() == nil { // one that was interrupted is still due
			err := client.endWork(ctx, result)
			var refused *RefusedError
			if err == nil || errors.As(err, &refused) {
				break
			}
			pauseFor(ctx, afterAskPause)
		}
	}
	return nil
}

func pauseFor(ctx context.Context, d time.Duration) {
	select {
	case <-ctx.Done():
	case <-time.After(d):
	}
}

// run runs the command and says how it has ended. What it leaves behind in its process group is ended, too.
func (w AfterWork) run(ctx context.Context, log *slog.Logger) AfterResult {
	log.Info("changes have arrived", "run", w.Command)
	began := time.Now()
	said, problem := w.execute(ctx)
	result := AfterResult{ID: w.ID, Took: time.Since(began)}
	switch {
	case problem != nil:
		result.Problem = problem.Error()
		if text := lastLines(said); text != "" {
			result.Problem += ": " + text
		}
		log.Warn("the command has failed", "error", problem, "took", result.Took, "said", said)
	default:
		log.Info("the command has run", "took", result.Took, "said", said)
	}
	return result
}

func (w AfterWork) execute(ctx context.Context) (said string, err error) {
	account, err := LookupAccount(w.Owner, w.Group)
	if err != nil {
		return "", err
	}
	cmd := exec.Command(w.Command[0], w.Command[1:]...) //nolint:noctx // its group is ended below
	cmd.Dir = w.Directory
	cmd.Env = append([]string{"PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin", "LANG=C.UTF-8", "USER=" + w.Owner, "LOGNAME=" + w.Owner}, w.Environment...)
	if u, err := user.Lookup(w.Owner); err == nil {
		cmd.Env = append(cmd.Env, "HOME="+u.HomeDir)
	}
	out, complaints := &ending{}, &ending{}
	cmd.Stdout, cmd.Stderr, cmd.WaitDelay = out, complaints, afterLeft
	wait, err := startAs(cmd, account)
	if err != nil {
		return "", fmt.Errorf("start %s: %w", w.Command[0], err)
	}
	pid := cmd.Process.Pid
	ended := make(chan error, 1)
	go func() { ended <- wait() }()
	timeout := time.NewTimer(w.Timeout)
	defer timeout.Stop()
	late := false
	select {
	case err = <-ended:
	case <-ctx.Done():
		err = endGroup(pid, ended)
	case <-timeout.C:
		late = true
		err = endGroup(pid, ended)
	}
	_ = killGroup(pid, true) // what it has left, if anything
	said = complaints.String()
	if said == "" {
		said = out.String()
	}
	if late {
		return said, fmt.Errorf("%s was ended after %s, its timeout", w.Command[0], w.Timeout)
	}
	return said, commandError(w.Command[0], err)
}

// endGroup ends a command with all that it has started, and returns how it has ended.
func endGroup(pid int, ended <-chan error) error {
	_ = killGroup(pid, false) // what follows ends it in any case
	select {
	case err := <-ended:
		return err
	case <-time.After(stopWithin):
		_ = killGroup(pid, true)
		return <-ended
	}
}

// commandError says how a command has ended, nil for well.
func commandError(program string, err error) error {
	var exit *exec.ExitError
	switch {
	case err == nil || errors.Is(err, exec.ErrWaitDelay): // what it has left behind is none of its own success
		return nil
	case errors.As(err, &exit) && exit.Exited():
		return fmt.Errorf("%s ended with exit code %d", program, exit.ExitCode())
	}
	return fmt.Errorf("%s: %w", program, err)
}

// ending keeps the end of what is written to it. It is safe for concurrent use.
type ending struct {
	mu   sync.Mutex
	kept []byte
}

// Write implements io.Writer.
func (e *ending) Write(p []byte) (int, error) {
	e.mu.Lock()
	defer e.mu.Unlock()
	e.kept = append(e.kept, p...)
	if more := len(e.kept) - afterSaid; more > 0 {
		e.kept = append(e.kept[:0], e.kept[more:]...)
	}
	return len(p), nil
}

// String returns what was kept.
func (e *ending) String() string {
	e.mu.Lock()
	defer e.mu.Unlock()
	return strings.TrimSpace(strings.ToValidUTF8(string(e.kept), "?"))
}

// lastLines are the last of what a command has said, in one line.
func lastLines(said string) string {
	lines := strings.FieldsFunc(said, func(r rune) bool { return r == '\n' || r == '\r' })
	text := strings.Join(lines[max(len(lines)-afterLines, 0):], " | ")
	if len(text) > afterShown {
		text = "…" + strings.ToValidUTF8(text[len(text)-afterShown:], "")
	}
	return text
}
