//go:build linux

package vm

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"syscall"
	"time"

	"golang.org/x/sys/unix"

	"github.com/atollhq/terraform-provider-atoll/internal/lab/nodes"
)

// VM is one virtual machine of a lab. Its methods are safe for concurrent use, but changes of power are serialized by the
// caller.
type VM struct {
	config Config
	places places
	cgroup nodes.Cgroup

	mu    sync.Mutex
	seed  string // path of the second disk's content, "" for none
	seeds int    // how many seeds there were, for their names
	run   *running
}

// running is one boot of a machine, until QEMU has ended.
type running struct {
	pid     int
	monitor *monitor
	done    chan struct{} // closed when QEMU has ended

	mu     sync.Mutex
	reason string // of the machine's end as QEMU gave it
	frozen bool
}

// New makes a machine's disk. The machine has no power yet.
func New(ctx context.Context, c Config) (*VM, error) {
	c = c.withDefaults()
	v := &VM{config: c, places: places{dir: c.Dir}, cgroup: nodes.LabCgroup(c.Lab).Node(c.Name)}
	for _, dir := range []string{c.Dir, c.Run} {
		if err := os.MkdirAll(dir, 0o700); err != nil {
			return nil, fmt.Errorf("make the machine's folder: %w", err)
		}
	}
	if err := c.makeDisk(ctx, v.places); err != nil {
		return nil, err
	}
	if err := c.writeCredentials(v.places); err != nil {
		return nil, err
	}
	if c.Seed != "" {
		if err := v.keepSeed(ctx, c.Seed); err != nil {
			return nil, err
		}
	}
	return v, nil
}

// Console is the file with everything the machine said on its serial port.
func (v *VM) Console() string { return v.places.console() }

// Disk is the file of the machine's disk: raw when its kernel is started directly, else qcow2.
func (v *VM) Disk() string { return v.places.disk(v.config.DirectKernel) }

// socket is QEMU's monitor. Its name is short whatever the machine's is.
func (v *VM) socket() string {
	sum := sha256.Sum256([]byte(v.config.Name))
	return filepath.Join(v.config.Run, "qemu-"+hex.EncodeToString(sum[:6]))
}

// Boot gives the machine power inside a network namespace (a path) that has its end of the cable, and returns when its
// processor runs. ended is called in a goroutine of its own when this boot is over.
func (v *VM) Boot(ctx context.Context, namespace string, ended func(nodes.Exit)) error {
	v.mu.Lock()
	defer v.mu.Unlock()
	if v.run != nil {
		return nil
	}
	c := v.config
	c.Seed = v.seed
	var k *kernel
	if c.DirectKernel {
		var err error
		if k, err = (filesystem{v.Disk()}).load(ctx, v.places); err != nil {
			return fmt.Errorf("boot %s: %w", c.Name, err)
		}
		k.arguments = strings.TrimSpace(k.arguments + " " + c.KernelArguments)
	}
	if err := v.cgroup.Destroy(ctx); err != nil {
		return err
	}
	if err := os.Remove(v.socket()); err != nil && !errors.Is(err, os.ErrNotExist) {
		return fmt.Errorf("boot %s: %w", c.Name, err)
	}
	argv, err := v.cgroup.Enclose(append([]string{"nsenter", "--net=" + namespace, "--"}, c.argv(v.places, v.socket(), k)...)...)
	if err != nil {
		return err
	}
	complaints, err := os.OpenFile(v.places.complaints(), os.O_CREATE|os.O_APPEND|os.O_WRONLY, 0o600)
	if err != nil {
		return fmt.Errorf("boot %s: %w", c.Name, err)
	}
	defer func() { _ = complaints.Close() }()
	// A machine outlives the call that boots it.
	cmd := exec.CommandContext(context.WithoutCancel(ctx), argv[0], argv[1:]...)
	cmd.Env = []string{"PATH=" + os.Getenv("PATH"), "LC_ALL=C.UTF-8"}
	cmd.Stdout, cmd.Stderr = complaints, complaints
	cmd.SysProcAttr = &syscall.SysProcAttr{Setsid: true}
	if err := cmd.Start(); err != nil {
		return fmt.Errorf("boot %s: %w", c.Name, err)
	}
	r := &running{pid: cmd.Process.Pid, done: make(chan struct{})}
	over := make(chan struct{})
	go func() { _ = cmd.Wait(); close(over) }() // how it ended is in the monitor's last event
	if r.monitor, err = v.connect(ctx, r, over); err != nil {
		_ = unix.Kill(r.pid, unix.SIGKILL)
		<-over
		return fmt.Errorf("boot %s: %w", c.Name, err)
	}
	v.run = r
	go v.attend(r, over, ended)
	return nil
}

// connect waits for QEMU's monitor.
func (v *VM) connect(ctx context.Context, r *running, over <-chan struct{}) (*monitor, error) {
	ctx, cancel := context.WithTimeout(ctx, 20*time.Second)
	defer cancel()
	tick := time.NewTicker(10 * time.Millisecond)
	defer tick.Stop()
	for {
		m, err := dialMonitor(ctx, v.socket(), r.note)
		if err == nil {
			return m, nil
		}
		select {
		case <-over:
			return nil, fmt.Errorf("QEMU ended: %s", tail(v.places.complaints()))
		case <-ctx.Done():
			return nil, errors.Join(ctx.Err(), err)
		case <-tick.C:
		}
	}
}

// note keeps what an event says of the boot.
func (r *running) note(e event) {
	r.mu.Lock()
	defer r.mu.Unlock()
	switch e.Name {
	case "STOP":
		r.frozen = true
	case "RESUME":
		r.frozen = false
	case "SHUTDOWN":
		var data struct {
			Reason string `json:"reason"`
		}
		if json.Unmarshal(e.Data, &data) == nil {
			r.reason = data.Reason
		}
	}
}

// exit says how the boot ended, once it has.
func (r *running) exit() nodes.Exit {
	r.mu.Lock()
	defer r.mu.Unlock()
	switch r.reason {
	case "":
		return nodes.ExitPowerCut
	case "guest-reset":
		return nodes.ExitReboot
	default:
		return nodes.ExitPowerOff
	}
}

// attend waits for the end of a boot and tells it.
func (v *VM) attend(r *running, over <-chan struct{}, ended func(nodes.Exit)) {
	<-over
	<-r.monitor.closed // its last word says why
	_ = r.monitor.close()
	v.mu.Lock()
	if v.run == r {
		v.run = nil
	}
	v.mu.Unlock()
	close(r.done)
	ended(r.exit())
}

// current returns the boot that has power now.
func (v *VM) current() (*running, error) {
	v.mu.Lock()
	defer v.mu.Unlock()
	if v.run == nil {
		return nil, fmt.Errorf("%s: %w", v.config.Name, nodes.ErrOff)
	}
	return v.run, nil
}

// On says whether the machine has power.
func (v *VM) On() bool {
	_, err := v.current()
	return err == nil
}

// PID is QEMU's process.
func (v *VM) PID() (int, error) {
	r, err := v.current()
	if err != nil {
		return 0, err
	}
	return r.pid, nil
}

// PowerCut kills QEMU: the machine writes and says nothing more. What it had flushed is on its disk. A machine without
// power stays as it is.
func (v *VM) PowerCut(ctx context.Context) error {
	r, err := v.current()
	if err != nil {
		return nil //nolint:nilerr // off is what the caller wants
	}
	if err := unix.Kill(r.pid, unix.SIGKILL); err != nil && !errors.Is(err, unix.ESRCH) {
		return fmt.Errorf("cut the power of %s: %w", v.config.Name, err)
	}
	return v.wait(ctx, r)
}

// powerButtonEvery is how often the power button is pressed: a machine that is still booting does not notice.
const powerButtonEvery = 3 * time.Second

// Shutdown presses the machine's power button until it switches itself off, and cuts its power when it has not done so
// within grace.
func (v *VM) Shutdown(ctx context.Context, grace time.Duration) error {
	r, err := v.current()
	if err != nil {
		return nil //nolint:nilerr // off is what the caller wants
	}
	patience, cancel := context.WithTimeout(ctx, grace)
	defer cancel()
	for patience.Err() == nil {
		err := r.monitor.run(patience, "system_powerdown", nil)
		if err != nil && !errors.Is(err, errMonitorClosed) && patience.Err() == nil {
			return fmt.Errorf("shut %s down: %w", v.config.Name, err)
		}
		pressed, stop := context.WithTimeout(patience, powerButtonEvery)
		err = v.wait(pressed, r)
		stop()
		if err == nil {
			return nil
		}
	}
	if ctx.Err() != nil {
		return fmt.Errorf("shut %s down: %w", v.config.Name, ctx.Err())
	}
	return v.PowerCut(ctx)
}

func (v *VM) wait(ctx context.Context, r *running) error {
	select {
	case <-r.done:
		return nil
	case <-ctx.Done():
		return fmt.Errorf("wait for %s to lose power: %w", v.config.Name, ctx.Err())
	}
}

// Freeze stops the machine's processor where it stands, or lets it go on. Other than a frozen container's, its kernel
// answers nothing meanwhile.
func (v *VM) Freeze(ctx context.Context, frozen bool) error {
	r, err := v.current()
	if err != nil {
		return err
	}
	command := "cont"
	if frozen {
		command = "stop"
	}
	if err := r.monitor.run(ctx, command, nil); err != nil {
		return fmt.Errorf("freeze %s: %w", v.config.Name, err)
	}
	r.mu.Lock()
	r.frozen = frozen
	r.mu.Unlock()
	return nil
}

// Frozen says whether the machine stands still.
func (v *VM) Frozen() bool {
	r, err := v.current()
	if err != nil {
		return false
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.frozen
}

// Usage measures what the machine costs the one that runs it, emulation included.
func (v *VM) Usage() (nodes.Usage, error) { return v.cgroup.Usage() }

// Destroy takes the machine's power and removes everything of it.
func (v *VM) Destroy(ctx context.Context) error {
	if err := v.PowerCut(ctx); err != nil {
		return err
	}
	if err := v.cgroup.Destroy(ctx); err != nil {
		return err
	}
	return removeAll(v.places.dir, v.socket())
}

// tail returns the end of a file for an error message.
func tail(path string) string {
	data, err := os.ReadFile(path)
	if err != nil {
		return err.Error()
	}
	lines := strings.Split(strings.TrimSpace(string(data)), "\n")
	return strings.Join(lines[max(0, len(lines)-5):], " | ")
}
