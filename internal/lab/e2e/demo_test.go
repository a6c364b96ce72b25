//go:build linux

package e2e_test

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/atollhq/terraform-provider-atoll/internal/lab/load"
)

// demo is a demo of its own beside whichever runs on this machine.
type demo struct {
	name, dir, source, engine string
}

// TestDemo runs what newcomers run, as they do it: they lose patience, twice, and begin again; they run it once more when all
// is well; they write to its database; they let a node die while visitors are logged in at its website; and at the end nothing of it is left.
func TestDemo(t *testing.T) {
	t.Parallel()
	source, err := filepath.Abs("../../..")
	if err != nil {
		t.Fatal(err)
	}
	d := demo{name: fmt.Sprintf("demo-%d", os.Getpid()), dir: filepath.Join(t.TempDir(), "demo"), source: source, engine: requireLab(t)}
	t.Cleanup(func() {
		ctx, cancel := context.WithTimeout(context.WithoutCancel(t.Context()), time.Minute)
		defer cancel()
		if out, err := d.command(ctx, "demo-down").CombinedOutput(); err != nil {
			t.Errorf("make demo-down: %v\n%s", err, out)
		}
	})
	if out, err := d.command(t.Context(), "build").CombinedOutput(); err != nil {
		t.Fatalf("make build: %v\n%s", err, out)
	}
	d.interrupt(t, "while the lab boots its machines", "booting hk2", nil)
	stopped := d.interrupt(t, "while a new machine boots and others are adopted", `atoll_node.linode["sg1"]: Creating...`, func() bool { return len(d.instances(t)) > 0 })
	wantMessage(t, stopped, "The run was interrupted", "What was done so far is kept")
	if strings.Contains(stopped, "Check ssh.host") {
		t.Errorf("the messages blame something for the interruption:\n%s", stopped)
	}
	out := d.run(t, "demo")
	if strings.Contains(out, "No changes.") || !strings.Contains(out, "The cluster is up.") {
		t.Errorf("after the interruptions there was nothing to do, or it was not done:\n%s", out)
	}
	if !strings.Contains(out, "written on hk1 at") {
		t.Errorf("a file that was written on hk1 was not read on sg1:\n%s", out)
	}
	list := d.instances(t)
	if len(list) != 1 || list[0] != "sg1" {
		t.Errorf("the cloud has the instances %v, want sg1 alone", list)
	}
	if out := d.run(t, "demo"); !strings.Contains(out, "No changes.") || strings.Contains(out, "Creating...") {
		t.Errorf("a run after one that was good found something to do:\n%s", out)
	}
	if again := d.instances(t); !slices.Equal(again, list) {
		t.Errorf("the cloud has the instances %v now, it had %v", again, list)
	}
	d.write(t)
	d.visit(t)
	d.run(t, "demo-down")
	wantNoLab(t, d.name)
	if _, err := os.Stat(d.dir); !errors.Is(err, os.ErrNotExist) {
		t.Errorf("%s is left: %v", d.dir, err)
	}
}

// command makes a command that runs a target of the demo, in a process group of its own as a shell does.
func (d demo) command(ctx context.Context, target string) *exec.Cmd {
	cmd := exec.CommandContext(ctx, "make", target)
	cmd.Dir = d.source
	cmd.Env = append(os.Environ(), "ATOLL_DEMO_NAME="+d.name, "ATOLL_DEMO_DIR="+d.dir, "ATOLL_DEMO_ENGINE="+d.engine)
	// Tests may run below a make with options and variables of its own.
	cmd.Env = slices.DeleteFunc(cmd.Env, func(v string) bool { return strings.HasPrefix(v, "MAKE") || strings.HasPrefix(v, "MFLAGS=") })
	cmd.SysProcAttr = &syscall.SysProcAttr{Setpgid: true}
	cmd.Cancel = func() error { return syscall.Kill(-cmd.Process.Pid, syscall.SIGINT) }
	cmd.WaitDelay = time.Minute
	return cmd
}

// run runs a target, which must succeed, and returns what it printed.
func (d demo) run(t *testing.T, target string) string {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), patience)
	defer cancel()
	from := time.Now()
	out, err := d.command(ctx, target).CombinedOutput()
	if err != nil {
		t.Fatalf("make %s: %v\n%s", target, err, out)
	}
	t.Logf("make %s: %.1f s", target, time.Since(from).Seconds())
	return string(out)
}

// interrupt runs the demo, presses Ctrl-C when it has said something and then something has come true, and returns what it
// printed.
func (d demo) interrupt(t *testing.T, when, said string, and func() bool) string {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), patience)
	defer cancel()
	cmd := d.command(ctx, "demo")
	out := &listener{word: said, heard: make(chan struct{})}
	cmd.Stdout, cmd.Stderr = out, out
	from := time.Now()
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	ended := make(chan error, 1)
	go func() { ended <- cmd.Wait() }()
	select {
	case <-out.heard:
	case err := <-ended:
		t.Fatalf("the demo ended (%v) before it said %q:\n%s", err, said, out)
	}
	for tick := time.NewTicker(50 * time.Millisecond); and != nil && !and(); {
		select {
		case <-tick.C:
		case err := <-ended:
			t.Fatalf("the demo ended (%v) before it could be interrupted %s:\n%s", err, when, out)
		}
	}
	interrupted := time.Now()
	if err := syscall.Kill(-cmd.Process.Pid, syscall.SIGINT); err != nil {
		t.Fatal(err)
	}
	if err := <-ended; err == nil || ctx.Err() != nil {
		t.Fatalf("the demo, interrupted %s, ended with %v:\n%s", when, err, out)
	}
	t.Logf("interrupted %s, after %.1f s; it ended %.1f s later", when, interrupted.Sub(from).Seconds(), time.Since(interrupted).Seconds())
	return out.String()
}

// visit lets visitors log in and a node die meanwhile, as the demo says. Whoever comes some seconds later is served: one who waits for a
// dead node's connection is given up after eight seconds, which counts as failed.
func (d demo) visit(t *testing.T) {
	t.Helper()
	program := filepath.Join(d.source, ".build", "bin", "atoll-lab")
	ctx, cancel := context.WithTimeout(t.Context(), patience)
	defer cancel()
	cmd := exec.CommandContext(ctx, program, "--name", d.name, "--json", "load", hostname,
		"--login", "/login", "--path", "/account", "--sessions", "30", "--duration", "15s", "--timeout", "8s", "--then", "2s kill sg1")
	var said bytes.Buffer
	cmd.Stderr = &said
	out, err := cmd.Output()
	if err != nil {
		t.Fatalf("atoll-lab load: %v\n%s", err, &said)
	}
	var r load.Report
	if err := json.Unmarshal(out, &r); err != nil || len(r.Events) != 1 {
		t.Fatalf("atoll-lab load: %v\n%s", err, out)
	}
	e := r.Events[0]
	t.Logf("after %s at %s %d of %d requests failed, the last one of those that began within %s; answered by %v; %d of %d sessions moved",
		e.What, e.At, e.Failed, r.Requests, e.Until, r.Nodes, r.Moved, r.Sessions)
	if r.Failed != e.Failed || e.Until > 8*time.Second || len(r.Nodes) != 3 || r.Failures["401"] > 0 || r.Moved == 0 {
		t.Errorf("visitors saw %s", out)
	}
}

// write lets the applications of all nodes write to the database, and reads what the demo has written.
func (d demo) write(t *testing.T) {
	t.Helper()
	program := filepath.Join(d.source, ".build", "bin", "atoll-lab")
	ctx, cancel := context.WithTimeout(t.Context(), patience)
	defer cancel()
	out, err := exec.CommandContext(ctx, program, "--name", d.name, "--json", "write", "--duration", "5s").Output()
	if err != nil {
		t.Fatalf("atoll-lab write: %v\n%s", err, out)
	}
	var r struct{ Acknowledged, Lost int }
	if err := json.Unmarshal(out, &r); err != nil || r.Acknowledged < 50 || r.Lost != 0 {
		t.Errorf("atoll-lab write: %v\n%s", err, out)
	}
	notes, err := exec.CommandContext(ctx, program, "--name", d.name, "exec", "sg1", "--", "curl", "-sS", "http://localhost:8080/notes").Output()
	if err != nil || !strings.Contains(string(notes), "the demo was here, by way of hk2") {
		t.Errorf("the application on sg1 has the notes %q, %v", notes, err)
	}
}

// instances asks the demo's cloud for the labels of its instances.
func (d demo) instances(t *testing.T) []string {
	t.Helper()
	const ask = `curl -sf -H "Authorization: Bearer $LINODE_TOKEN" "$LINODE_URL/v4/linode/instances"`
	program := filepath.Join(d.source, ".build", "bin", "atoll-lab")
	out, err := exec.CommandContext(t.Context(), program, "--name", d.name, "run", "--", "sh", "-c", ask).CombinedOutput()
	if err != nil {
		t.Fatalf("ask the cloud: %v\n%s", err, out)
	}
	var list struct {
		Data []struct {
			Label string `json:"label"`
		} `json:"data"`
	}
	if err := json.Unmarshal(out, &list); err != nil {
		t.Fatalf("ask the cloud: %v\n%s", err, out)
	}
	var labels []string
	for _, instance := range list.Data {
		labels = append(labels, instance.Label)
	}
	return labels
}

// listener keeps what is written to it and tells when it has heard something.
type listener struct {
	word  string
	heard chan struct{}

	mu   sync.Mutex
	text bytes.Buffer
	told bool
}

// Write implements io.Writer.
func (l *listener) Write(p []byte) (int, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.text.Write(p)
	if !l.told && strings.Contains(l.text.String(), l.word) {
		l.told = true
		close(l.heard)
	}
	return len(p), nil
}

// String returns all that was written.
func (l *listener) String() string {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.text.String()
}
