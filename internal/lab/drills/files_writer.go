//go:build linux

package drills

import (
	"bufio"
	"context"
	_ "embed" // the application
	"errors"
	"fmt"
	"io"
	"maps"
	"os/exec"
	"path"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/atollhq/terraform-provider-atoll/internal/lab/rig"
)

// application writes files on a node and says what it has done. It is killed with its node.
//
//go:embed files_writer.pl
var application string

// version is one version of a file, as the application that wrote it saw it.
type version struct {
	id, path string
	// saw is the version that it took the place of, "" for none.
	saw  string
	done bool
	at   time.Time
}

// account is what applications have said. It is safe for concurrent use.
type account struct {
	mu       sync.Mutex
	versions map[string]*version
	// gone are the versions that an application itself has replaced or removed, perhaps those of which it is not known whether it came to
	// that.
	gone, perhaps map[string]bool
	// after are the versions that were tried in the place of another one, by its id, and did not end.
	after    map[string][]string
	failures map[string]int
	failed   time.Time
}

func newAccount() *account {
	return &account{versions: map[string]*version{}, gone: map[string]bool{}, perhaps: map[string]bool{}, after: map[string][]string{}, failures: map[string]int{}}
}

// note takes a line of an application. Its words are documented by the application.
func (a *account) note(line string) {
	a.mu.Lock()
	defer a.mu.Unlock()
	word, rest, _ := strings.Cut(line, " ")
	fields := strings.SplitN(rest, " ", 3)
	switch {
	case word == "try" && len(fields) == 3:
		v := &version{id: fields[0], saw: replaced(fields[1]), path: fields[2], at: time.Now()}
		a.versions[v.id] = v
		if v.saw != "" {
			a.after[v.saw] = append(a.after[v.saw], v.id)
		}
	case word == "done" && len(fields) == 3:
		v := a.versions[fields[0]]
		v.saw, v.done, v.at = replaced(fields[1]), true, time.Now()
		if v.saw != "" {
			a.gone[v.saw] = true
		}
	case word == "gone" && len(fields) > 1:
		a.gone[fields[0]] = true
	case word == "taking" && len(fields) > 1:
		a.perhaps[fields[0]] = true
	case word == "failed":
		_, reason, _ := strings.Cut(rest, " ")
		a.failures[reason]++
		a.failed = time.Now()
	}
}

// replaced is what an application says of the version before: "-" is none.
func replaced(saw string) string {
	if saw == "-" {
		return ""
	}
	return saw
}

// demanded are the versions that have to be there, by id: those that are done and that no application has replaced or removed.
func (a *account) demanded() map[string]*version {
	a.mu.Lock()
	defer a.mu.Unlock()
	out := map[string]*version{}
	for id, v := range a.versions {
		if v.done && !a.gone[id] && !a.perhaps[id] {
			out[id] = v
		}
	}
	return out
}

// successors are the versions one of which may be there instead of another: their application died when it put them into its place.
func (a *account) successors(id string) []string {
	a.mu.Lock()
	defer a.mu.Unlock()
	return slices.Clone(a.after[id])
}

// since counts the versions that were done after a moment.
func (a *account) since(from time.Time) (done int) {
	a.mu.Lock()
	defer a.mu.Unlock()
	for _, v := range a.versions {
		if v.done && v.at.After(from) {
			done++
		}
	}
	return done
}

// calm is how long nothing has failed, and reasons why something did, with how often.
func (a *account) calm() time.Duration {
	a.mu.Lock()
	defer a.mu.Unlock()
	return time.Since(a.failed)
}

func (a *account) reasons() (text string, n int) {
	a.mu.Lock()
	defer a.mu.Unlock()
	var parts []string
	for _, reason := range slices.Sorted(maps.Keys(a.failures)) {
		parts = append(parts, fmt.Sprintf("%d writes failed: %s", a.failures[reason], reason))
		n += a.failures[reason]
	}
	return strings.Join(parts, "; "), n
}

// running is an application on a node.
type running struct {
	node  string
	stdin io.Closer
	done  chan struct{}
	err   error // after done
}

// launch starts an application in the tree on a node, as the tree's owner.
func launch(ctx context.Context, f *Field, a *account, node, mode, dir, by string, options ...string) (*running, error) {
	argv := []string{"runuser", "-u", rig.PairOwner, "--", "sh", "-c", `cd "$1"; shift; exec perl -e "$@"`, "sh", rig.PairPath, application, mode, dir, by}
	// It ends with its input, whatever becomes of the drill.
	cmd, err := f.Command(context.WithoutCancel(ctx), node, append(argv, options...)...)
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
	var complaint strings.Builder
	cmd.Stderr = &complaint
	if err := cmd.Start(); err != nil {
		return nil, fmt.Errorf("start writing on %s: %w", node, err)
	}
	r := &running{node: node, stdin: stdin, done: make(chan struct{})}
	go r.read(cmd, stdout, a, &complaint)
	return r, nil
}

// read takes what the application says until it ends. One that was killed with its node has not failed.
func (r *running) read(cmd *exec.Cmd, stdout io.Reader, a *account, complaint fmt.Stringer) {
	defer close(r.done)
	lines, last := bufio.NewScanner(stdout), ""
	for lines.Scan() {
		last = lines.Text()
		a.note(last)
	}
	err := cmd.Wait()
	if last == "end" {
		return
	}
	exit := (*exec.ExitError)(nil)
	if errors.As(err, &exit) && !exit.Exited() || err != nil && exit.ExitCode() == 137 {
		return
	}
	r.err = fmt.Errorf("what writes on %s has ended: %w: %s", r.node, err, complaint.String())
}

// stop has the application end after what it does.
func (r *running) stop() error {
	_ = r.stdin.Close()
	return r.wait()
}

// wait waits until the application has ended by itself.
func (r *running) wait() error {
	<-r.done
	return r.err
}

// versionsOn returns where each version is in the tree on a node, by id: by a tool that has no part in keeping the pair, and by the paths that
// applications use.
func versionsOn(ctx context.Context, p *rig.Pair, node, dir string) (map[string][]string, error) {
	out, err := p.Run(ctx, node, "grep -RHm1 --exclude='*.tmp' '^version ' '"+dir+"' || test $? = 1")
	if err != nil {
		return nil, err
	}
	found := map[string][]string{}
	for line := range strings.Lines(out) {
		name, id, ok := strings.Cut(strings.TrimSpace(line), ":version ")
		if !ok {
			return nil, fmt.Errorf("grep on %s says %q", node, line)
		}
		found[id] = append(found[id], name)
	}
	return found, nil
}

// isFor tells whether a file has the name that a version was written under, or that of a copy that a conflict left of it, or of the
// directory that it is in.
func isFor(name, want string) bool {
	got, parts := strings.Split(name, "/"), strings.Split(want, "/")
	if len(got) != len(parts) {
		return false
	}
	for i, part := range parts {
		stem := strings.TrimSuffix(part, path.Ext(part))
		if got[i] != part && !strings.HasPrefix(got[i], stem+" (conflict") {
			return false
		}
	}
	return true
}
