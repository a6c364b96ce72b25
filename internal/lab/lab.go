//go:build linux

package lab

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"net/http"
	"path/filepath"
	"regexp"
	"sync"
	"time"

	"github.com/atollhq/terraform-provider-atoll/internal/lab/linode"
	"github.com/atollhq/terraform-provider-atoll/internal/lab/network"
	"github.com/atollhq/terraform-provider-atoll/internal/lab/nodes"
	"github.com/atollhq/terraform-provider-atoll/internal/lab/vm"
)

// DefaultName is the lab that commands mean when none is named.
const DefaultName = "demo"

// names are short enough for every place that a lab's name goes into; a dot would blur where a name ends.
var names = regexp.MustCompile(`^[a-z][a-z0-9-]{0,23}$`)

// Options say what a lab is made of. The zero value is the demo.
type Options struct {
	// Name tells labs apart; DefaultName when empty.
	Name string
	// Machines exist without any cloud's API, reachable by SSH only; DefaultMachines when nil.
	Machines []Machine
	// Boot is what machines are; BootContainer when empty.
	Boot Boot
	// Image is the path of the manifest of the node image that virtual machines start from. Without it only containers boot,
	// and Linodes of an image that was uploaded.
	Image string
	// Memory of each virtual machine in MiB; vm.DefaultMemory when 0.
	Memory int
	// Atolld is the path of the agent that cloud images of the lab carry; without it they carry none.
	Atolld string
	// DataDir holds the nodes' disks; DefaultDataDir when empty. It must not be on an overlayfs.
	DataDir string
	// CacheDir holds what all labs share; nodes.DefaultCacheDir when empty.
	CacheDir string
	// Zones are the domains of the lab's Cloudflare account; cloudflare.DefaultZone when empty.
	Zones []string
	// Temporary labs are swept by SweepDead when their process is gone. Tests set it.
	Temporary bool
	// Progress is told what Start is doing. It may be nil.
	Progress func(string)
	// Log may be nil.
	Log *slog.Logger
}

// Machine is a computer that somebody put into a rack: Debian with SSH, and nothing of Atoll.
type Machine struct {
	Name string `json:"name"`
	Site string `json:"site"`
	// Boot is what the machine is, when it is not what the lab's machines are.
	Boot Boot `json:"boot,omitempty"`
	// Access is how the machine is connected. The operator reaches one behind a router of its own by nothing: Command does.
	Access network.Access `json:"access,omitempty"`
	// Off keeps the machine without power until PowerOn.
	Off bool `json:"off,omitempty"`

	// What follows is for virtual machines alone.

	// Seed is the path of a seed disk (an image) that the machine has from the start. Without it the machine has one that
	// lets the operator log in.
	Seed string `json:"seed,omitempty"`
	// DirectKernel starts the kernel without the machine's own boot loader, as a PXE boot does: some seconds faster. The
	// disk has no partitions then.
	DirectKernel bool `json:"direct_kernel,omitempty"`
	// KernelArguments are added to the command line of a kernel that is started directly, as a PXE server does. Every process
	// of this machine can read them.
	KernelArguments string `json:"kernel_arguments,omitempty"`
	// Disk is the size of the disk in MiB; vm.DefaultDisk when 0.
	Disk int `json:"disk,omitempty"`
	// Credentials are what the firmware hands to systemd, by name; atoll.first-boot is where the agent looks. They may be
	// secret.
	Credentials map[string][]byte `json:"credentials,omitempty"`
}

// DefaultMachines are the two of the reference topology: the operator's own in a rack, and a VPS of a provider without
// an API that Atoll knows.
func DefaultMachines() []Machine {
	return []Machine{{Name: "hk1", Site: network.SiteColo}, {Name: "hk2", Site: network.SiteVPS}}
}

func (o Options) withDefaults() Options {
	if o.Name == "" {
		o.Name = DefaultName
	}
	if o.Boot == "" {
		o.Boot = BootContainer
	}
	if o.Machines == nil {
		o.Machines = DefaultMachines()
	}
	if o.DataDir == "" {
		o.DataDir = DefaultDataDir()
	}
	if o.Progress == nil {
		o.Progress = func(string) {}
	}
	if o.Log == nil {
		o.Log = slog.New(slog.DiscardHandler)
	}
	return o
}

// Lab is a running lab. Its methods are safe for concurrent use.
type Lab struct {
	options  Options
	started  time.Time
	files    files
	record   *record
	net      *network.Network
	cloud    *linode.Server
	front    *front
	operator *operator
	entry    *entry
	layers   layers
	images   *nodeImage
	// accelerator is how virtual machines run.
	accelerator vm.Accelerator
	servers     []*http.Server
	serving     sync.WaitGroup

	mu       sync.Mutex
	machines map[string]*machine
	closing  bool
	closed   chan struct{}
}

// Start makes a lab and returns when its machines answer by SSH and its cloud's API is there. What a dead lab of the same
// name left is removed first; a living one is an *InUseError. When Start fails or its context ends, nothing is left.
func Start(ctx context.Context, o Options) (*Lab, error) {
	o = o.withDefaults()
	if !names.MatchString(o.Name) {
		return nil, fmt.Errorf("%q is no name for a lab: it takes at most 24 lower-case letters, digits and '-', a letter first", o.Name)
	}
	if err := o.Check(); err != nil {
		return nil, err
	}
	if o.Temporary {
		if err := SweepDead(ctx); err != nil {
			o.Log.Warn("could not remove what dead labs left", "error", err)
		}
	}
	l := &Lab{
		options: o, started: time.Now(), files: files{name: o.Name},
		machines: map[string]*machine{}, closed: make(chan struct{}),
	}
	var err error
	l.record, err = claim(l.files, recordData{
		Name: o.Name, DataDir: filepath.Join(o.DataDir, "lab-"+o.Name), Temporary: o.Temporary, Started: l.started,
	})
	if err != nil {
		return nil, err
	}
	if err := l.start(ctx); err != nil {
		return nil, errors.Join(err, l.Remove(context.WithoutCancel(ctx)))
	}
	return l, nil
}

func (l *Lab) start(ctx context.Context) error {
	progress := l.options.Progress
	if l.record.found {
		progress("removing what an earlier lab of this name left: its process was killed, so its machines and its cloud's instances are lost")
	}
	if err := l.record.sweep(ctx); err != nil {
		return fmt.Errorf("remove an earlier lab: %w", err)
	}
	if err := l.record.forgetBefore(); err != nil {
		return fmt.Errorf("write the lab's record: %w", err)
	}
	if err := nodes.MakeShared(l.record.data.DataDir, 0o700); err != nil {
		return fmt.Errorf("make the data folder: %w", err)
	}
	if err := l.prepareImages(ctx); err != nil {
		return err
	}
	var err error
	progress("building the network")
	if l.net, err = network.New(ctx, l.options.Name, l.options.Log); err != nil {
		return fmt.Errorf("build the network: %w", err)
	}
	if l.operator, err = newOperator(l.files.operator()); err != nil {
		return err
	}
	l.entry = &entry{dir: l.files.dir(), key: l.operator.keyFile()}
	if err := l.serveCloud(ctx); err != nil {
		return err
	}
	if err := l.serveEdge(ctx); err != nil {
		return err
	}
	if err := l.serveControl(ctx); err != nil {
		return err
	}
	for _, m := range l.options.Machines {
		progress(fmt.Sprintf("booting %s (%s)", m.Name, m.Site))
		if err := l.addUnmanaged(ctx, m); err != nil {
			return err
		}
	}
	progress("waiting for SSH")
	for _, m := range l.options.Machines {
		if m.Off || m.Seed != "" || m.Access == network.AccessTranslated {
			continue // whoever wants to log in there says so
		}
		if err := l.WaitSSH(ctx, m.Name); err != nil {
			return err
		}
	}
	return nil
}

// prepareImages makes ready what the machines' disks are made of.
func (l *Lab) prepareImages(ctx context.Context) error {
	if l.options.anyVM() {
		l.images = &nodeImage{
			manifest: l.options.Image, own: filepath.Join(l.record.data.DataDir, "images"), shared: l.options.imageCache(),
		}
		var err error
		if l.accelerator, err = vm.BestAccelerator(ctx); err != nil {
			return fmt.Errorf("find out how to run virtual machines: %w", err)
		}
		// Whoever makes Linodes alone may upload their image.
		if l.options.Image != "" || len(l.options.Machines) > 0 {
			l.options.Progress("checking the node image")
			if _, err := l.images.disk(ctx); err != nil {
				return err
			}
		}
	}
	if !l.options.anyContainer() {
		return nil
	}
	var err error
	cache := nodes.Cache{Dir: l.options.CacheDir, Log: l.options.Log}
	if l.layers.base, err = cache.Ensure(ctx, nodes.DefaultImage(), l.options.Progress); err != nil {
		return err
	}
	_, err = l.imageLayer(ctx)
	return err
}

// Name is the lab's name.
func (l *Lab) Name() string { return l.options.Name }

// Cloud is the emulated Linode account, for tests that inject faults.
func (l *Lab) Cloud() *linode.Server { return l.cloud }

// Network is the lab's internet.
func (l *Lab) Network() *network.Network { return l.net }

// Closed is closed when the lab is gone.
func (l *Lab) Closed() <-chan struct{} { return l.closed }

// closeTimeout bounds each part of the removal of a lab.
const closeTimeout = time.Minute

// Close is Remove for deferred calls and tests' clean-up, whose own contexts have ended by then.
//
//nolint:contextcheck // see above
func (l *Lab) Close() error { return l.Remove(context.Background()) }

// Remove switches everything off and removes all of it, data included. It may be called more than once.
func (l *Lab) Remove(ctx context.Context) error {
	l.mu.Lock()
	if l.closing {
		l.mu.Unlock()
		<-l.closed
		return nil
	}
	l.closing = true
	l.mu.Unlock()
	defer close(l.closed)
	soon, cancel := context.WithTimeout(ctx, closeTimeout)
	defer cancel()
	if l.cloud != nil {
		l.cloud.Close()
	}
	l.front.close() //nolint:contextcheck // what it ends has a context of its own
	var errs []error
	for _, s := range l.servers {
		errs = append(errs, stop(soon, s))
	}
	l.serving.Wait()
	// Whatever is booting now is done after this, and nothing boots any more.
	for _, m := range l.all() {
		m.power.Lock()
		errs = append(errs, m.hangUp())
		m.power.Unlock()
	}
	if err := l.record.sweep(ctx); err != nil {
		return errors.Join(append(errs, err, l.record.keep())...)
	}
	return errors.Join(append(errs, l.record.release())...)
}

func (l *Lab) isClosing() bool {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.closing
}

// stop lets a server answer what it is at, such as the request that ends the lab, but does not wait for clients that hang.
func stop(ctx context.Context, s *http.Server) error {
	patience, cancel := context.WithTimeout(ctx, 500*time.Millisecond)
	defer cancel()
	if err := s.Shutdown(patience); err == nil {
		return nil
	}
	return s.Close()
}

// serve runs a handler on a listener until the lab is closed.
func (l *Lab) serve(listener net.Listener, handler http.Handler) {
	s := &http.Server{
		Handler: handler, ReadHeaderTimeout: 10 * time.Second,
		ErrorLog: slog.NewLogLogger(l.options.Log.Handler(), slog.LevelWarn),
	}
	l.servers = append(l.servers, s)
	l.serving.Go(func() {
		if err := s.Serve(listener); err != nil && !errors.Is(err, http.ErrServerClosed) {
			l.options.Log.Error("a server of the lab ended", "error", err)
		}
	})
}
