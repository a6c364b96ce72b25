package unison

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"net"
	"os"
	"os/exec"
	"path"
	"path/filepath"
	"regexp"
	"strconv"
	"strings"
	"sync"
	"time"

	"github.com/atollhq/terraform-provider-atoll/internal/replication/cold"
	"github.com/atollhq/terraform-provider-atoll/internal/replication/digest"
	"github.com/atollhq/terraform-provider-atoll/internal/replication/guard"
	"github.com/atollhq/terraform-provider-atoll/internal/replication/unison/fsmonitor"
	"github.com/atollhq/terraform-provider-atoll/internal/replication/worker"
)

const (
	// monitorName is what unison starts to be told of changes, from its PATH.
	monitorName = "unison-fsmonitor"
	// lastWordsWithin is how long unison may take to end by itself when its link has ended.
	lastWordsWithin = 2 * time.Second
	// collector has an OCaml runtime before 5, which older unisons come with (Debian 12's), look through what a unison waits for a quarter as often: with
	// 47,000 new files that was half of the leader's CPU seconds. It takes 40 MiB.
	collector = "OCAMLRUNPARAM=s=1M"
	// monitorSocket says in the environment where that reaches the worker.
	monitorSocket = "ATOLL_PAIR_MONITOR"
)

// Programs returns what this program is under other names: what unison and rsync start themselves, and what moves old directories.
func Programs() map[string]func(context.Context) error {
	programs := cold.Programs()
	programs[guard.Name] = guard.Shim
	programs[monitorName] = func(ctx context.Context) error {
		return fsmonitor.Shim(ctx, os.Getenv(monitorSocket), os.Stdin, os.Stdout)
	}
	return programs
}

// engine runs unison for a worker: on the node that leads the client, which does all the work, on the other a server.
type engine struct {
	host    *worker.Host
	program string
	// attributes tells that this unison keeps extended attributes.
	attributes bool
	monitor    *fsmonitor.Monitor
	skipped    *skipped
	noted      noted
	untidy     untidy

	mu   sync.Mutex
	link *worker.Link
	// distrusted tells that the archives are to be removed before the next start.
	distrusted bool
	// looked tells that unison has looked at the tree since it was started.
	looked bool
	// crashed tells that unison has crashed the last time, before it was of use.
	crashed bool
	// thorough tells that the next start reads all contents.
	thorough bool
	fresh    fresh
	heads    heads
}

var _ worker.NewEngine = NewEngine

// NewEngine returns what runs unison for a worker.
func NewEngine(h *worker.Host) (worker.Engine, error) {
	program, err := exec.LookPath("unison")
	if err != nil {
		return nil, worker.Problem("unison is not installed on this node: install the Debian package unison")
	}
	e := &engine{host: h, program: program, skipped: newSkipped(), untidy: untidy{}}
	if e.attributes, err = keepsAttributes(program); err != nil {
		return nil, err
	}
	e.monitor = fsmonitor.New(fsmonitor.Options{
		Root: h.Config.Path, Hold: true, Gate: e.gate, Event: e.event, Woken: e.woken, Log: h.Log,
	})
	return e, e.prepare()
}

var version = regexp.MustCompile(`version (\d+)\.(\d+)`)

// keepsAttributes asks a unison whether it is 2.53 or newer.
func keepsAttributes(program string) (bool, error) {
	ask := exec.Command(program, "-version") //nolint:noctx // it answers at once
	// Services have no HOME, without which unison does not even say who it is.
	ask.Env = append(os.Environ(), "HOME=/nonexistent")
	var complaint bytes.Buffer
	ask.Stderr = &complaint
	out, err := ask.Output()
	if err != nil {
		return false, fmt.Errorf("ask %s for its version: %w: %s", program, err, strings.TrimSpace(complaint.String()))
	}
	m := version.FindSubmatch(out)
	if m == nil {
		return false, fmt.Errorf("ask %s for its version: it says %q", program, out)
	}
	major, majorErr := strconv.Atoi(string(m[1]))
	minor, minorErr := strconv.Atoi(string(m[2]))
	if err := errors.Join(majorErr, minorErr); err != nil {
		return false, err
	}
	return major > 2 || major == 2 && minor >= 53, nil
}

func (e *engine) socket(name string) string { return filepath.Join(e.host.Config.RunDir, name+".sock") }

func (e *engine) bin() string { return filepath.Join(e.host.Config.RunDir, "bin") }

// prepare makes the program that unison asks for changes, which does not depend on a link.
func (e *engine) prepare() error {
	self, err := os.Executable()
	if err != nil {
		return err
	}
	if err := os.Mkdir(e.bin(), 0o755); err != nil && !errors.Is(err, fs.ErrExist) {
		return err
	}
	link := filepath.Join(e.bin(), monitorName)
	if err := os.Remove(link); err != nil && !errors.Is(err, fs.ErrNotExist) {
		return err
	}
	return os.Symlink(self, link)
}

// Run implements worker.Engine.
func (e *engine) Run(ctx context.Context, link *worker.Link) (err error) {
	e.mu.Lock()
	e.link = link
	e.mu.Unlock()
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	go func() {
		select {
		case <-link.Ended():
		case <-ctx.Done():
			return
		}
		// Unison notices by itself, and may have something to say: that it ends is often why the link has ended.
		select {
		case <-time.After(lastWordsWithin):
			cancel()
		case <-ctx.Done():
		}
	}()
	stop, err := e.serveMonitor(ctx)
	if err != nil {
		return err
	}
	defer stop()
	defer func() {
		err = errors.Join(err, ignoreClosed(link.Close()))
		if e.heads.over(link) {
			e.host.Sweep()
		}
	}()
	if e.host.Config.Leads {
		return e.lead(ctx, link)
	}
	return e.answer(ctx, link)
}

// serveMonitor answers unison's questions for changes until the function that it returns is called.
func (e *engine) serveMonitor(ctx context.Context) (stop func(), err error) {
	listener, err := worker.ListenUnix(ctx, e.socket("monitor"), e.host.Account)
	if err != nil {
		return nil, err
	}
	ctx, cancel := context.WithCancel(ctx)
	var serving sync.WaitGroup
	serving.Go(func() {
		for {
			c, err := listener.Accept()
			if err != nil {
				return
			}
			serving.Go(func() {
				defer func() { _ = c.Close() }()
				end := context.AfterFunc(ctx, func() { _ = c.Close() })
				defer end()
				if err := e.monitor.Serve(ctx, c); err != nil && ctx.Err() == nil {
					e.host.Log.Warn("unison is not told of changes any more", "error", err)
				}
			})
		}
	})
	return func() {
		cancel()
		_ = listener.Close()
		serving.Wait()
	}, nil
}

// command returns unison with arguments, as the pair's account will run it.
func (e *engine) command(args ...string) *exec.Cmd {
	cmd := exec.Command(e.program, args...) //nolint:noctx // Host.Start ends it
	home := e.host.Config.Home()
	cmd.Env = []string{
		"HOME=" + home, "UNISON=" + filepath.Join(home, directory), "PATH=" + e.bin() + ":/usr/local/bin:/usr/bin:/bin", "LC_ALL=C",
		// Archives are of two hosts by name; the machine's own name may change.
		"UNISONLOCALHOSTNAME=" + e.host.Config.Node,
		monitorSocket + "=" + e.socket("monitor"),
	}
	if !e.attributes {
		cmd.Env = append(cmd.Env, collector)
	}
	return cmd
}

// ready makes unison's directory fit for a start, after which something is carried over or not. None runs on this node then.
func (e *engine) ready(carries bool) error {
	distrusted := e.distrusts()
	gone := locks
	if distrusted {
		gone = append(gone[:1:1], archives...)
	}
	if err := errors.Join(clearFiles(e.host.Config.Home(), gone), unblockCache(e.host.Config.Home())); err != nil {
		return err
	}
	e.mu.Lock()
	e.distrusted = e.distrusted && !distrusted
	e.mu.Unlock()
	has, err := hasArchive(e.host.Config.Home())
	if err != nil {
		return err
	}
	if e.host.Config.Leads {
		e.fresh.start(has)
	}
	e.heads.begin(carries && !has)
	return e.host.Gate()
}

// answer runs unison's server over a link.
func (e *engine) answer(ctx context.Context, link *worker.Link) (err error) {
	carries := false
	select {
	case w := <-link.Hello():
		if w.Forget {
			e.distrust()
		}
		if carries, err = e.host.Agree(ctx, link, w); err != nil {
			return err
		}
	case <-ctx.Done():
		return nil
	}
	if carries {
		if err := e.offerRoom(link); err != nil {
			return err
		}
	}
	here, there, err := socketPair()
	if err != nil {
		return err
	}
	defer func() { _ = there.Close() }()
	cmd := e.command("-server", "__new-rpc-mode")
	cmd.Stdin, cmd.Stdout = there, there
	said := &lastWords{}
	cmd.Stderr = said
	e.mu.Lock()
	e.looked = false
	e.mu.Unlock()
	program, err := e.host.Start(ctx, cmd, func() error { return e.ready(carries) })
	if err != nil {
		_ = link.Say(problemOf(err)) // the link may be gone
		return errors.Join(err, here.Close())
	}
	_ = there.Close() // unison has it
	joined := make(chan error, 1)
	go func() { joined <- worker.Join(here, link) }()
	<-program.Exited()
	if e.heads.sends() {
		_ = link.Close() // what it has said waits for the end of that
	}
	e.logEnd(ctx, program, said.String())
	e.judgeServer(lastOfServer(said.String(), program.Wait()))
	return errors.Join(ignoreClosed(here.Close()), ignoreClosed(<-joined))
}

// problemOf returns what the other side is told of an error.
func problemOf(err error) worker.Word { return worker.Word{Problem: err.Error()} }

func (e *engine) logEnd(ctx context.Context, p *worker.Program, said string) {
	if err := p.Wait(); ctx.Err() == nil {
		e.host.Log.Info("unison has ended", "said", said, "error", err)
	}
}

func (e *engine) writeProfile(carries bool) error {
	text, err := Profile(e.host.Config, e.socket("tunnel"), e.attributes, e.host.Apart())
	if err != nil {
		return err
	}
	if !carries {
		text = append(text, Observing(e.host.Config, e.socket("tunnel"))...)
	}
	root, err := os.OpenRoot(e.host.Config.Home())
	if err != nil {
		return err
	}
	defer func() { _ = root.Close() }()
	if err := root.Mkdir(directory, 0o700); err != nil && !errors.Is(err, fs.ErrExist) {
		return err
	}
	if err := root.Lchown(directory, e.host.Account.UID, e.host.Account.GID); err != nil {
		return err
	}
	file := path.Join(directory, profileName+".prf")
	if err := root.Remove(file); err != nil && !errors.Is(err, fs.ErrNotExist) {
		return err
	}
	return root.WriteFile(file, text, 0o644)
}

// Heard implements worker.Engine.
func (e *engine) Heard(w worker.Word) {
	if w.Release != 0 {
		e.monitor.Release(w.Release)
	}
	if w.Synced {
		e.wasOfUse()
		e.host.Answers()
	}
	if w.Misread {
		e.distrustDigests()
	}
	if len(w.Tidy) > 0 {
		e.host.Tidy(w.Tidy, e.Unfinished)
	}
	if len(w.Look) > 0 {
		e.lookAgain(w.Look)
	}
}

func (e *engine) distrusts() bool {
	e.mu.Lock()
	defer e.mu.Unlock()
	return e.distrusted
}

func (e *engine) distrust() {
	e.mu.Lock()
	defer e.mu.Unlock()
	e.distrusted = true
}

// woken tells the other side that this one answers a round with changes: unison waits for both.
func (e *engine) woken(round int) {
	if link := e.current(); link != nil {
		go func() { _ = link.Say(worker.Word{Release: round}) }() // the link may be gone, and the round with it
	}
}

func (e *engine) current() *worker.Link {
	e.mu.Lock()
	defer e.mu.Unlock()
	return e.link
}

func (e *engine) event(event fsmonitor.Event) {
	switch event.Kind {
	case fsmonitor.Told:
		e.host.Busy()
		e.noted.told()
	case fsmonitor.Waiting:
		e.host.Rests()
		e.noted.waits()
	case fsmonitor.Scanning:
		e.fresh.looks()
		e.sendAhead()
	}
	e.mu.Lock()
	e.looked = true
	e.mu.Unlock()
}

// Pending implements worker.Engine.
func (e *engine) Pending() int { return e.monitor.Pending() }

// Forget implements worker.Engine.
func (e *engine) Forget() error { return clearFiles(e.host.Config.Home(), archives) }

var conflictName = regexp.MustCompile(` \(conflict(?: #\d+)?_on_\d{4}-\d\d-\d\d(?:_was_deleted)?\)`)

// Thorough implements worker.Engine.
func (e *engine) Thorough() {
	e.mu.Lock()
	e.thorough = true
	link := e.link
	e.mu.Unlock()
	if link != nil {
		_ = link.Close() // a new one is begun with
	}
}

// begunThoroughly tells whether the start that is made now reads all contents.
func (e *engine) begunThoroughly() bool {
	e.mu.Lock()
	defer e.mu.Unlock()
	thorough := e.thorough
	e.thorough = false
	return thorough
}

// Conflict implements worker.Engine.
func (*engine) Conflict(name string) bool { return conflictName.MatchString(name) }

// Blind implements worker.Engine. Unison takes dates of change that differ by a second for the same when it replicates them ("similar" in its
// props.ml), and looks into a file only when its date, length or inode has changed.
func (*engine) Blind() time.Duration { return 2100 * time.Millisecond }

var temporaryName = regexp.MustCompile(`(?s)^\.unison\.(.*)\.([0-9a-f]{32})\.unison\.tmp$`)

// Becomes implements worker.Engine.
func (*engine) Becomes(temporary string) string {
	m := temporaryName.FindStringSubmatch(path.Base(temporary))
	if m == nil {
		return ""
	}
	return path.Join(path.Dir(temporary), m[1])
}

// Aside implements worker.Engine.
func (e *engine) Aside(p string, number uint64) string {
	hash := strings.Repeat("0", 32)
	if known := hashes(e.host.Config); len(known) > 0 {
		hash = known[0] // it is swept away if this side is killed right then
	}
	return path.Join(path.Dir(p), fmt.Sprintf(".unison.removed-%x.%s.unison.tmp", number, hash))
}

// Beside implements worker.Engine, as finishCopy in unison's files.ml does.
func (*engine) Beside(p string, n int, now time.Time) string {
	number := ""
	if n > 0 {
		number = fmt.Sprintf(" #%d", n)
	}
	extension := path.Ext(p)
	return fmt.Sprintf("%s (conflict%s_on_%s)%s", strings.TrimSuffix(p, extension), number, now.Format(time.DateOnly), extension)
}

// Temporary implements worker.Engine. Unison replicates no such names itself.
func (*engine) Temporary(p string) bool {
	name := path.Base(p)
	return strings.HasPrefix(name, ".unison.") && strings.HasSuffix(name, ".unison.tmp")
}

// Kept implements worker.Engine, as Profile says it: everything belongs to the account that the tree does, and dates count by no more than a
// second or two.
func (e *engine) Kept() (digest.Options, []string) {
	return digest.Options{Permissions: 0o7777, Xattrs: e.attributes, ACLs: e.attributes}, []string{".unison.*.unison.tmp"}
}

func ignoreClosed(err error) error {
	if errors.Is(err, net.ErrClosed) || errors.Is(err, io.ErrClosedPipe) || errors.Is(err, io.EOF) {
		return nil
	}
	return err
}
