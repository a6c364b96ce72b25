package main

import (
	"context"
	"errors"
	"fmt"
	"os"
	"slices"

	"github.com/atollhq/terraform-provider-atoll/internal/lab/bare"
	"github.com/atollhq/terraform-provider-atoll/internal/lab/nodes"
	"github.com/atollhq/terraform-provider-atoll/internal/lab/rig"
)

// filesPackages are what nodes do not have otherwise.
var filesPackages = []string{"csync2", "libsqlite3-0", "lsyncd", "rsync", "syncthing", "unison"}

// stockFiles are two machines with nothing of Atoll on them.
type stockFiles struct {
	lab      *bare.Lab
	machines [2]*bare.Machine
}

// filesMaker begins a way to keep a tree, and returns what ends it; nil for nothing.
type filesMaker func(ctx context.Context) (w *filesWay, end func(context.Context) error, err error)

// measureStock measures what Debian has, at its defaults, one after another on the same two machines.
func (o filesOptions) measureStock(ctx context.Context, report *filesReport, ways []string) error {
	return withStock(ctx, func(s *stockFiles) error {
		var errs []error
		for _, name := range ways {
			if ctx.Err() != nil {
				break
			}
			errs = append(errs, s.one(ctx, name, func(w *filesWay) error { return o.measure(ctx, report, w) }))
		}
		return errors.Join(errs...)
	})
}

// withStock has two machines for as long as something is done with them.
func withStock(ctx context.Context, do func(s *stockFiles) error) (err error) {
	image := nodes.DefaultImage()
	image.Packages, image.Unstable = slices.Concat(image.Packages, filesPackages), nil
	say := func(doing string) { filesSay("stock", "%s", doing) }
	l, err := bare.New(ctx, fmt.Sprintf("files%d", os.Getpid()), bare.Options{Image: image, Progress: say})
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, l.Close(context.WithoutCancel(ctx))) }()
	s := &stockFiles{lab: l}
	for i, name := range []string{"one", "other"} {
		if s.machines[i], err = l.Add(ctx, name); err != nil {
			return err
		}
	}
	if err := s.introduce(ctx); err != nil {
		return err
	}
	return do(s)
}

func (s *stockFiles) maker(name string) filesMaker {
	return map[string]filesMaker{
		"rsync": s.rsync, "unison": s.unison, "lsyncd": s.lsyncd, "syncthing": s.syncthing, "csync2": s.csync2,
	}[name]
}

// one has one way measured and takes it away again, all but the tree.
func (s *stockFiles) one(ctx context.Context, name string, measure func(w *filesWay) error) error {
	w, end, err := s.maker(name)(ctx)
	if err != nil {
		return fmt.Errorf("%s: %w", name, err)
	}
	w.name, w.hosts = name, s.hosts()
	err = measure(w)
	ctx = context.WithoutCancel(ctx)
	if end != nil {
		err = errors.Join(err, end(ctx))
	}
	return err
}

func (s *stockFiles) hosts() (hosts [2]filesHost) {
	for i, m := range s.machines {
		hosts[i] = filesHost{name: m.Name, run: m.Run, pid: m.PID, usage: m.Usage}
	}
	return hosts
}

// both does something on both machines at the same time.
func (s *stockFiles) both(do func(m *bare.Machine) error) error {
	done := make(chan error, len(s.machines))
	for _, m := range s.machines {
		go func() { done <- do(m) }()
	}
	return errors.Join(<-done, <-done)
}

// sh runs a shell's commands on a machine.
func sh(ctx context.Context, m *bare.Machine, commands string, args ...string) error {
	_, err := m.Run(ctx, append([]string{"sh", "-euc", commands, "sh"}, args...)...)
	return err
}

// service runs a command on a machine as a service of it: what runs otherwise would not be counted as the machine's.
func service(ctx context.Context, m *bare.Machine, command ...string) error {
	_, err := m.Run(ctx, append([]string{"systemd-run", "--quiet", "--wait", "--pipe", "--collect", "--setenv=HOME=/root", "--"}, command...)...)
	return err
}

// introduce makes root of the first machine root of the second, by name.
func (s *stockFiles) introduce(ctx context.Context) error {
	one, other := s.machines[0], s.machines[1]
	if err := s.both(func(m *bare.Machine) error {
		return sh(ctx, m, `printf '%s one\n%s other\n' "$1" "$2" >>/etc/hosts; install -d -m 700 /root/.ssh`, one.Address.String(), other.Address.String())
	}); err != nil {
		return err
	}
	key, err := one.Run(ctx, "sh", "-euc", "ssh-keygen -q -t ed25519 -N '' -f /root/.ssh/id_ed25519; cat /root/.ssh/id_ed25519.pub")
	if err != nil {
		return err
	}
	if err := other.Write("/root/.ssh/authorized_keys", []byte(key), 0o600); err != nil {
		return err
	}
	return sh(ctx, one, "ssh-keyscan -t ed25519 other >/root/.ssh/known_hosts; ssh -o BatchMode=yes other true")
}

// rsync is run once, as its manual's first examples have it.
func (s *stockFiles) rsync(context.Context) (*filesWay, func(context.Context) error, error) {
	run := func(ctx context.Context) error {
		return service(ctx, s.machines[0], "rsync", "-a", rig.PairPath+"/", "other:"+rig.PairPath+"/")
	}
	return &filesWay{begin: run, again: run, note: "rsync -a over SSH, in one direction; somebody has to run it"}, nil, nil
}

// unison is run once, without questions, at its defaults.
func (s *stockFiles) unison(context.Context) (*filesWay, func(context.Context) error, error) {
	run := func(ctx context.Context) error {
		return service(ctx, s.machines[0], "unison", rig.PairPath, "ssh://other/"+rig.PairPath, "-batch", "-dumbtty")
	}
	end := func(ctx context.Context) error {
		return s.both(func(m *bare.Machine) error { return sh(ctx, m, "rm -rf /root/.unison") })
	}
	return &filesWay{begin: run, again: run, note: "unison -batch over SSH; somebody has to run it"}, end, nil
}

// lsyncdConfig is the package's own example of two machines.
const lsyncdConfig = `sync{default.rsyncssh, source="` + rig.PairPath + `", host="other", targetdir="` + rig.PairPath + `/"}
`

func (s *stockFiles) lsyncd(context.Context) (*filesWay, func(context.Context) error, error) {
	one := s.machines[0]
	if err := one.Write("/etc/lsyncd/lsyncd.conf.lua", []byte(lsyncdConfig), 0o644); err != nil {
		return nil, nil, err
	}
	// Its script has started nothing at boot, without a configuration, and is taken for running.
	begin := func(ctx context.Context) error { return sh(ctx, one, "systemctl restart lsyncd.service") }
	end := func(ctx context.Context) error { return sh(ctx, one, "systemctl stop lsyncd.service") }
	return &filesWay{
		live: true, begin: begin,
		note: "default.rsyncssh, in one direction: it gathers changes for 15 s, and does not look at everything again once it runs",
	}, end, nil
}
