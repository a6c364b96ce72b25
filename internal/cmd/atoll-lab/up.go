//go:build linux

package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"syscall"
	"time"

	"github.com/spf13/cobra"
	"golang.org/x/sys/unix"

	"github.com/atollhq/terraform-provider-atoll/internal/lab"
	"github.com/atollhq/terraform-provider-atoll/internal/lab/cloudflare"
	"github.com/atollhq/terraform-provider-atoll/internal/lab/vm"
)

// report is one line that the background process says while it starts.
type report struct {
	Progress string `json:"progress,omitempty"`
	Ready    bool   `json:"ready,omitempty"`
	Error    string `json:"error,omitempty"`
}

// leastMemory is what the node image boots with, in MiB.
const leastMemory = 256

// reportFile is the file descriptor that the background process reports to.
const reportFile = 3

// shape are the flags that say what a lab is made of.
type shape struct {
	atolld   string
	machines []string
	zones    []string
	boot     string
	image    string
	memory   int
}

func (s *shape) addFlags(cmd *cobra.Command) {
	cmd.Flags().StringVar(&s.atolld, "atolld", "", "`path` of the agent that cloud images carry (default: atolld next to atoll-lab)")
	cmd.Flags().StringArrayVar(&s.machines, "machine", nil, "unmanaged machine as `NAME@SITE`, repeatable (default hk1@hk-colo, hk2@hk-vps)")
	cmd.Flags().StringArrayVar(&s.zones, "zone", nil, "`domain` of the lab's Cloudflare account, repeatable (default "+cloudflare.DefaultZone+")")
	cmd.Flags().StringVar(&s.boot, "boot", string(lab.BootContainer),
		"what machines are: container, or vm for virtual machines of the real node image")
	cmd.Flags().StringVar(&s.image, "image", "",
		"`manifest` of the node image for virtual machines (default: the newest that make image built)")
	cmd.Flags().IntVar(&s.memory, "memory", vm.DefaultMemory, "memory of each virtual machine in `MiB`")
}

func (s *shape) options(name string) (lab.Options, error) {
	o := lab.Options{Name: name, Atolld: s.atolld, Boot: lab.Boot(s.boot), Image: s.image, Memory: s.memory}
	if !slices.Contains(lab.Boots(), o.Boot) {
		return o, fmt.Errorf("%w: --boot %q is none of %q", errUsage, s.boot, lab.Boots())
	}
	if s.memory < leastMemory {
		return o, fmt.Errorf("%w: --memory %d: the node image does not boot with less than %d MiB", errUsage, s.memory, leastMemory)
	}
	for _, zone := range s.zones {
		if err := cloudflare.CheckZone(zone); err != nil {
			return o, fmt.Errorf("%w: --zone: %w", errUsage, err)
		}
	}
	o.Zones = s.zones
	for _, m := range s.machines {
		machine, err := parseMachine(m)
		if err != nil {
			return o, fmt.Errorf("--machine: %w", err)
		}
		o.Machines = append(o.Machines, machine)
	}
	return o, nil
}

// parseMachine reads NAME@SITE.
func parseMachine(text string) (lab.Machine, error) {
	name, site, ok := strings.Cut(text, "@")
	if !ok || name == "" || site == "" {
		return lab.Machine{}, fmt.Errorf("%w: %q is not NAME@SITE", errUsage, text)
	}
	return lab.Machine{Name: name, Site: site}, nil
}

// args are the same flags for the background process.
func (s *shape) args() []string {
	args := []string{"--atolld", s.atolld, "--boot", s.boot, "--image", s.image, "--memory", strconv.Itoa(s.memory)}
	for _, zone := range s.zones {
		args = append(args, "--zone", zone)
	}
	for _, m := range s.machines {
		args = append(args, "--machine", m)
	}
	return args
}

// findAgent fills in the agent next to this program.
func (s *shape) findAgent(self string) error {
	if s.atolld == "" {
		beside := filepath.Join(filepath.Dir(self), "atolld")
		if _, err := os.Stat(beside); err == nil {
			s.atolld = beside
		}
		return nil
	}
	path, err := filepath.Abs(s.atolld)
	if err != nil {
		return fmt.Errorf("find the agent: %w", err)
	}
	if _, err := os.Stat(path); err != nil {
		return fmt.Errorf("%w: --atolld: %w", errUsage, err)
	}
	s.atolld = path
	return nil
}

// findImage fills in the newest image that was built next to this program.
func (s *shape) findImage(self string) error {
	if lab.Boot(s.boot) != lab.BootVM {
		if s.image != "" {
			return fmt.Errorf("%w: --image is for --boot vm", errUsage)
		}
		return nil
	}
	path := s.image
	if path == "" {
		path = filepath.Join(filepath.Dir(self), "..", "images", "current.manifest.json")
	}
	path, err := filepath.Abs(path)
	if err != nil {
		return fmt.Errorf("find the image: %w", err)
	}
	if _, err := os.Stat(path); err != nil {
		if s.image == "" && errors.Is(err, os.ErrNotExist) {
			return fmt.Errorf("there is no node image: build one with make image, or name one's manifest with --image")
		}
		return fmt.Errorf("%w: --image: %w", errUsage, err)
	}
	s.image = path
	return nil
}

func (a *app) upCommand() *cobra.Command {
	s := &shape{}
	cmd := &cobra.Command{
		Use:   "up",
		Short: "Start the lab and wait until it is ready",
		Long: `Start the lab in the background and wait until its machines answer by SSH and its cloud's API is there.
The first lab of a machine builds the nodes' root file system from Debian packages, which takes about half a minute; later
ones take a few seconds. A lab that runs already is left alone. Interrupting it removes what was begun.

With --boot vm every machine is a virtual machine that boots the real node image under QEMU. Without KVM each is up in
about a minute. It takes more memory of this machine than it has itself.`,
		Args: exactly(0),
		RunE: func(cmd *cobra.Command, _ []string) error { return a.up(cmd.Context(), s) },
	}
	s.addFlags(cmd)
	return cmd
}

func (a *app) up(ctx context.Context, s *shape) error {
	o, err := s.options(a.name)
	if err != nil {
		return err
	}
	if err := o.Check(); err != nil {
		return err
	}
	client := lab.Connect(a.name)
	if d, err := client.Describe(ctx); err == nil {
		a.say("lab %s is running already", a.name)
		return a.printLab(d)
	}
	self, err := os.Executable()
	if err != nil {
		return fmt.Errorf("find this program: %w", err)
	}
	if err := errors.Join(s.findAgent(self), s.findImage(self)); err != nil {
		return err
	}
	started := time.Now()
	if err := a.spawn(ctx, self, s); err != nil {
		return err
	}
	a.say("lab %s is ready after %.1f s", a.name, time.Since(started).Seconds())
	d, err := client.Describe(ctx)
	if err != nil {
		return err
	}
	return a.printLab(d)
}

// spawn starts the background process and follows it until it is ready. When that does not come, or ctx ends, the
// process is ended and nothing of the lab is left.
func (a *app) spawn(ctx context.Context, self string, s *shape) error {
	reader, writer, err := os.Pipe()
	if err != nil {
		return fmt.Errorf("make a pipe: %w", err)
	}
	defer func() { _ = reader.Close() }()
	// It outlives this command.
	cmd := exec.CommandContext(context.WithoutCancel(ctx), self, append([]string{"daemon", "--name", a.name}, s.args()...)...)
	cmd.ExtraFiles = []*os.File{writer}
	cmd.Dir = "/"
	cmd.SysProcAttr = &syscall.SysProcAttr{Setsid: true}
	err = cmd.Start()
	_ = writer.Close()
	if err != nil {
		return fmt.Errorf("start the lab's process: %w", err)
	}
	outcome := make(chan error, 1)
	go func() { outcome <- a.follow(reader) }()
	select {
	case err = <-outcome:
	case <-ctx.Done():
		a.say("interrupted: removing what was begun")
		err = errors.New("interrupted")
	}
	if err == nil {
		return cmd.Process.Release()
	}
	if killErr := cmd.Process.Signal(unix.SIGTERM); killErr != nil && !errors.Is(killErr, os.ErrProcessDone) {
		err = errors.Join(err, killErr)
	}
	_ = cmd.Wait() // it ends with an error, which it has reported
	if ctx.Err() == nil {
		return err
	}
	_, downErr := lab.Down(context.WithoutCancel(ctx), a.name)
	return errors.Join(err, downErr)
}

// follow prints what the background process reports until it is ready or has failed.
func (a *app) follow(reports io.Reader) error {
	for decoder := json.NewDecoder(reports); ; {
		var r report
		if err := decoder.Decode(&r); err != nil {
			return errors.New("the lab's process ended without a word")
		}
		switch {
		case r.Error != "":
			return errors.New(r.Error)
		case r.Ready:
			return nil
		default:
			a.say("%s", r.Progress)
		}
	}
}

func (a *app) daemonCommand() *cobra.Command {
	s := &shape{}
	cmd := &cobra.Command{
		Use: "daemon", Short: "Run the lab in this process", Hidden: true, Args: exactly(0),
		RunE: func(cmd *cobra.Command, _ []string) error { return a.daemon(cmd.Context(), s) },
	}
	s.addFlags(cmd)
	return cmd
}

// daemon runs the lab until somebody takes it down.
func (a *app) daemon(ctx context.Context, s *shape) error {
	reports := os.NewFile(reportFile, "reports")
	encoder := json.NewEncoder(reports)
	// Nobody may be listening any more, which is no reason to stop.
	tell := func(r report) { _ = encoder.Encode(r) }
	o, err := s.options(a.name)
	if err != nil {
		return err
	}
	log := &lateFile{path: lab.LogFile(a.name)}
	o.Log = slog.New(slog.NewTextHandler(log, nil))
	o.Progress = func(line string) {
		o.Log.Info("starting", "progress", line)
		tell(report{Progress: line})
	}
	l, err := lab.Start(ctx, o)
	if err != nil {
		tell(report{Error: err.Error()})
		return err
	}
	tell(report{Ready: true})
	if err := reports.Close(); err != nil {
		o.Log.Warn("nobody saw that the lab is ready", "error", err)
	}
	select {
	case <-ctx.Done():
	case <-l.Closed():
	}
	return l.Remove(context.WithoutCancel(ctx))
}

// lateFile appends to a log file in a folder that is not there before the lab is.
type lateFile struct{ path string }

// Write opens the file for each line; the daemon says little.
func (l *lateFile) Write(line []byte) (int, error) {
	f, err := os.OpenFile(l.path, os.O_CREATE|os.O_APPEND|os.O_WRONLY, 0o600)
	if err != nil {
		return 0, err
	}
	n, err := f.Write(line)
	return n, errors.Join(err, f.Close())
}
