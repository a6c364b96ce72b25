//go:build linux

package nodes

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"syscall"
	"time"

	"golang.org/x/sys/unix"
)

// ErrOff means that a node has no power and so runs nothing.
var ErrOff = errors.New("the node is switched off")

// Config describes a node. All fields are required.
type Config struct {
	Lab      string
	Name     string   // unique in the lab
	Hostname string   // what the node calls itself
	Dir      string   // folder of the node's disk and console
	Layers   []string // read-only root file systems below the disk, lowest first
}

// Node is one machine of the lab: a systemd that boots in a container with its own disk and network. Its methods are safe
// for concurrent use, but changes of power are serialized by the caller.
type Node struct {
	config Config
	disk   disk
	cgroup Cgroup

	mu  sync.Mutex
	run *running
}

// running is one boot of a node, until its power is gone.
type running struct {
	nspawn int           // pid of systemd-nspawn
	space  string        // the node's process namespace, once its PID 1 runs
	done   chan struct{} // closed when systemd-nspawn has ended
	exit   Exit          // valid after done
}

// Exit says how a boot ended.
type Exit int

// How a boot ends.
const (
	ExitPowerOff Exit = iota // the node switched itself off, or was asked to
	ExitReboot               // the node wants to boot again
	ExitPowerCut             // its power was cut
)

// rebootStatus is how systemd-nspawn tells that the node asked for a reboot.
const rebootStatus = 133

// machinePrefix starts the names under which systemd-nspawn knows a lab's nodes on this machine.
func machinePrefix(lab string) string { return "atoll." + lab + "." }

// machine names the node for systemd-nspawn, which wants a host name that is unique on this machine.
func (c Config) machine() string {
	name := machinePrefix(c.Lab) + Hostname(c.Name)
	if len(name) > 64 {
		sum := sha256.Sum256([]byte(name))
		name = name[:52] + "-" + hex.EncodeToString(sum[:5])
	}
	return name
}

// Hostname turns a label into what may be a host name.
func Hostname(label string) string {
	clean := strings.Map(func(r rune) rune {
		if r >= 'a' && r <= 'z' || r >= 'A' && r <= 'Z' || r >= '0' && r <= '9' {
			return r
		}
		return '-'
	}, label)
	clean = strings.Trim(clean, "-")
	if len(clean) > 63 {
		clean = strings.TrimRight(clean[:63], "-")
	}
	if clean == "" {
		return "localhost"
	}
	return clean
}

// New makes a node's disk with its identity on it. The node has no power yet.
func New(c Config) (*Node, error) {
	n := &Node{config: c, disk: disk{dir: c.Dir, layers: c.Layers}, cgroup: LabCgroup(c.Lab).Node(c.Name)}
	if err := n.disk.mount(); err != nil {
		return nil, err
	}
	id := sha256.Sum256(fmt.Appendf(nil, "%s %s %d", c.Lab, c.Name, time.Now().UnixNano()))
	for path, text := range map[string]string{
		"/etc/hostname":   c.Hostname + "\n",
		"/etc/hosts":      "127.0.0.1 localhost\n127.0.1.1 " + c.Hostname + "\n::1 localhost\n",
		"/etc/machine-id": hex.EncodeToString(id[:16]) + "\n",
	} {
		if err := n.Write(path, []byte(text), 0o644); err != nil {
			return nil, err
		}
	}
	return n, nil
}

// Write puts a file on the node's disk.
func (n *Node) Write(path string, data []byte, mode fs.FileMode) error {
	return n.disk.write(path, data, mode)
}

// Root is the node's file system as seen from outside.
func (n *Node) Root() string { return n.disk.root() }

// Console is the file with everything the node said while booting.
func (n *Node) Console() string { return filepath.Join(n.config.Dir, "console.log") }

// Boot gives the node power inside a network namespace (a path) and returns once its PID 1 runs. ended is called in a
// goroutine of its own when this boot is over.
func (n *Node) Boot(ctx context.Context, namespace string, ended func(Exit)) error {
	if n.On() {
		return nil
	}
	if r, err := n.current(); err == nil {
		// The boot before this one has ended inside, but not yet been tidied up.
		if err := n.wait(ctx, r); err != nil {
			return err
		}
	}
	n.mu.Lock()
	defer n.mu.Unlock()
	// An earlier boot has handed its control group to that systemd, which leaves no room for processes of ours.
	if err := n.cgroup.Destroy(ctx); err != nil {
		return err
	}
	argv, err := n.cgroup.Enclose(n.argv(namespace)...)
	if err != nil {
		return err
	}
	console, err := os.OpenFile(n.Console(), os.O_CREATE|os.O_APPEND|os.O_WRONLY, 0o600)
	if err != nil {
		return fmt.Errorf("open console: %w", err)
	}
	defer func() { _ = console.Close() }()
	// A node outlives the call that boots it.
	cmd := exec.CommandContext(context.WithoutCancel(ctx), argv[0], argv[1:]...)
	cmd.Env = []string{
		"PATH=" + os.Getenv("PATH"), "LC_ALL=C.UTF-8",
		// The node sets its own /proc/sys/net, and has a cgroup2 tree even where this machine's is v1.
		"SYSTEMD_NSPAWN_API_VFS_WRITABLE=network", "SYSTEMD_NSPAWN_UNIFIED_HIERARCHY=1",
	}
	cmd.Stdout, cmd.Stderr = console, console
	cmd.SysProcAttr = &syscall.SysProcAttr{Setsid: true}
	if err := cmd.Start(); err != nil {
		return fmt.Errorf("boot %s: %w", n.config.Name, err)
	}
	r := &running{nspawn: cmd.Process.Pid, done: make(chan struct{})}
	n.run = r
	go n.attend(cmd, r, ended)
	err = poll(ctx, 5*time.Millisecond, func() (bool, error) {
		select {
		case <-r.done:
			return false, fmt.Errorf("boot %s: systemd-nspawn ended: %s", n.config.Name, tail(n.Console()))
		default:
			pid := initOf(r.nspawn)
			if pid != 0 {
				r.space = pidNamespace(pid)
			}
			return pid != 0, nil
		}
	})
	return err
}

// argv is the command that boots the node. Its address, clock and name come from outside; it has every capability but
// sees only its own files, processes and network.
func (n *Node) argv(namespace string) []string {
	return []string{
		"systemd-nspawn", "--quiet", "--directory=" + n.disk.root(), "--boot",
		"--register=no", "--keep-unit", "--network-namespace-path=" + namespace,
		"--machine=" + n.config.machine(), "--hostname=" + n.config.Hostname,
		"--capability=all", "--bind=/dev/net/tun",
		"--resolv-conf=off", "--timezone=off", "--link-journal=no", "--console=pipe",
	}
}

// attend waits for the end of a boot and tells it.
func (n *Node) attend(cmd *exec.Cmd, r *running, ended func(Exit)) {
	err := cmd.Wait()
	var status *exec.ExitError
	switch {
	case err == nil:
		r.exit = ExitPowerOff
	case errors.As(err, &status) && status.ExitCode() == rebootStatus:
		r.exit = ExitReboot
	default:
		r.exit = ExitPowerCut
	}
	close(r.done) // first: Boot may wait for it with the lock held
	n.mu.Lock()
	if n.run == r {
		n.run = nil
	}
	n.mu.Unlock()
	ended(r.exit)
}

// current returns the boot that has power now.
func (n *Node) current() (*running, error) {
	n.mu.Lock()
	defer n.mu.Unlock()
	if n.run == nil {
		return nil, fmt.Errorf("%s: %w", n.config.Name, ErrOff)
	}
	return n.run, nil
}

// On says whether the node has power.
func (n *Node) On() bool {
	_, err := n.PID()
	return err == nil
}

// PID is the node's PID 1 as this machine numbers it.
func (n *Node) PID() (int, error) {
	r, err := n.current()
	if err != nil {
		return 0, err
	}
	pid := initOf(r.nspawn)
	if pid == 0 {
		return 0, fmt.Errorf("%s: %w", n.config.Name, ErrOff)
	}
	return pid, nil
}

// PowerCut kills the node's PID 1 and with it everything in the node, without a chance to write or say anything. A node
// without power stays as it is.
func (n *Node) PowerCut(ctx context.Context) error {
	r, err := n.current()
	if err != nil {
		return nil //nolint:nilerr // off is what the caller wants
	}
	if err := n.signal(r, unix.SIGKILL); err != nil {
		return err
	}
	if err := n.cgroup.Freeze(ctx, false); err != nil && !errors.Is(err, os.ErrNotExist) && !errors.Is(err, unix.ENODEV) {
		return err
	}
	return n.wait(ctx, r)
}

// poweroffSignal asks a systemd that is PID 1 to shut down in order: SIGRTMIN+4.
const poweroffSignal = syscall.Signal(34 + 4)

// Shutdown asks the node to switch itself off and cuts its power when it has not done so within grace.
func (n *Node) Shutdown(ctx context.Context, grace time.Duration) error {
	r, err := n.current()
	if err != nil {
		return nil //nolint:nilerr // off is what the caller wants
	}
	if err := n.signal(r, poweroffSignal); err != nil {
		return err
	}
	patience, cancel := context.WithTimeout(ctx, grace)
	defer cancel()
	if err := n.wait(patience, r); err == nil || ctx.Err() != nil {
		return err
	}
	return n.PowerCut(ctx)
}

func (n *Node) signal(r *running, s syscall.Signal) error {
	pid := initOf(r.nspawn)
	if pid == 0 {
		return nil
	}
	if err := unix.Kill(pid, s); err != nil && !errors.Is(err, unix.ESRCH) {
		return fmt.Errorf("signal %s: %w", n.config.Name, err)
	}
	return nil
}

func (n *Node) wait(ctx context.Context, r *running) error {
	tick := time.NewTicker(200 * time.Millisecond)
	defer tick.Stop()
	for {
		select {
		case <-r.done:
			return nil
		case <-ctx.Done():
			return fmt.Errorf("wait for %s to lose power: %w", n.config.Name, ctx.Err())
		case <-tick.C:
			unstop(map[string]bool{r.space: true})
		}
	}
}

// Freeze stops every process of the node where it stands, or lets them go on.
func (n *Node) Freeze(ctx context.Context, frozen bool) error {
	if _, err := n.current(); err != nil {
		return err
	}
	return n.cgroup.Freeze(ctx, frozen)
}

// Frozen says whether the node stands still.
func (n *Node) Frozen() bool { return n.cgroup.Frozen() }

// Usage measures what the node consumes.
func (n *Node) Usage() (Usage, error) { return n.cgroup.Usage() }

// Destroy takes the node's power and removes everything of it.
func (n *Node) Destroy(ctx context.Context) error {
	if err := n.PowerCut(ctx); err != nil {
		return err
	}
	if err := n.cgroup.Destroy(ctx); err != nil {
		return err
	}
	return SweepDisks(ctx, n.config.Dir)
}

// Sweep kills and removes every node that carries the lab's name, and the disks below dir.
func Sweep(ctx context.Context, lab, dir string) error {
	if err := LabCgroup(lab).Destroy(ctx); err != nil {
		return err
	}
	if err := SweepDisks(ctx, dir); err != nil {
		return err
	}
	leftovers, err := filepath.Glob("/run/systemd/nspawn/propagate/" + machinePrefix(lab) + "*")
	if err != nil {
		return err
	}
	for _, path := range leftovers {
		if err := os.Remove(path); err != nil && !errors.Is(err, os.ErrNotExist) {
			return fmt.Errorf("remove what systemd-nspawn left: %w", err)
		}
	}
	return RemoveEmptySlice()
}

// tail returns the end of a console for an error message.
func tail(path string) string {
	data, err := os.ReadFile(path)
	if err != nil {
		return err.Error()
	}
	lines := strings.Split(strings.TrimSpace(string(data)), "\n")
	return strings.Join(lines[max(0, len(lines)-5):], " | ")
}
