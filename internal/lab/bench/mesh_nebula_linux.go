package main

import (
	"context"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"

	"github.com/atollhq/terraform-provider-atoll/internal/lab/bare"
)

// nebulaModule is the folder of the module that names Nebula's version, in the source of Atoll.
const nebulaModule = "internal/tools/nebula"

// nebula is Nebula's programs, built from its module.
type nebula struct {
	dir, version string
}

// buildNebula builds the programs into a folder.
func buildNebula(ctx context.Context, source, dir string) (*nebula, error) {
	module := filepath.Join(source, filepath.FromSlash(nebulaModule))
	cmd := exec.CommandContext(ctx, "go", "build", "-C", module, "-trimpath", "-o", dir+"/", "tool")
	cmd.Env = append(os.Environ(), "CGO_ENABLED=0")
	if out, err := cmd.CombinedOutput(); err != nil {
		return nil, fmt.Errorf("build Nebula: %w\n%s", err, out)
	}
	version, err := exec.CommandContext(ctx, "go", "list", "-C", module, "-m", "-f", "{{.Version}}", "github.com/slackhq/nebula").Output()
	if err != nil {
		return nil, fmt.Errorf("which Nebula: %w", err)
	}
	return &nebula{dir: dir, version: strings.TrimSpace(string(version))}, nil
}

// nebulaConfig is as good as it gets for three nodes: the second is lighthouse and relay of the others, and a tunnel is looked at, and given
// up when it does not answer, after a second each, which is the least that its timers take; 5 and 10 s are Nebula's own.
const nebulaConfig = `pki: {ca: /etc/nebula/ca.crt, cert: /etc/nebula/host.crt, key: /etc/nebula/host.key}
static_host_map: {%[1]q: ["%[2]s:4242"]}
lighthouse: {am_lighthouse: %[3]t, interval: 10, hosts: [%[4]s]}
relay: {am_relay: %[3]t, use_relays: true, relays: [%[4]s]}
listen: {host: 0.0.0.0, port: 4242}
punchy: {punch: true, respond: true}
timers: {connection_alive_interval: 1, pending_deletion_interval: 1}
tun: {dev: nebula1}
logging: {level: info, format: text}
firewall:
  outbound: [{port: any, proto: any, host: any}]
  inbound: [{port: any, proto: any, host: any}]
`

// begin makes certificates and starts Nebula on three machines.
func (n *nebula) begin(ctx context.Context, w *meshWorld, machines []*bare.Machine) error {
	dir, err := os.MkdirTemp(n.dir, "certificates-")
	if err != nil {
		return err
	}
	certify := func(args ...string) error {
		cmd := exec.CommandContext(ctx, filepath.Join(n.dir, "nebula-cert"), args...)
		cmd.Dir = dir
		if out, err := cmd.CombinedOutput(); err != nil {
			return fmt.Errorf("nebula-cert %s: %w: %s", args[0], err, out)
		}
		return nil
	}
	if err := certify("ca", "-name", "bench"); err != nil {
		return err
	}
	program, err := os.ReadFile(filepath.Join(n.dir, "nebula"))
	if err != nil {
		return err
	}
	const relay = 1
	for i, m := range machines {
		h := w.hosts[i]
		if err := certify("sign", "-name", h.name, "-networks", h.mesh.String()+"/24"); err != nil {
			return err
		}
		hosts := w.hosts[relay].mesh.String()
		if i == relay {
			hosts = ""
		}
		files := map[string][]byte{
			"/usr/local/bin/nebula":  program,
			"/etc/nebula/config.yml": fmt.Appendf(nil, nebulaConfig, w.hosts[relay].mesh, w.hosts[relay].public, i == relay, hosts),
		}
		for to, from := range map[string]string{"ca.crt": "ca.crt", "host.crt": h.name + ".crt", "host.key": h.name + ".key"} {
			if files["/etc/nebula/"+to], err = os.ReadFile(filepath.Join(dir, from)); err != nil {
				return err
			}
		}
		for name, data := range files {
			if err := m.Write(name, data, 0o700); err != nil {
				return err
			}
		}
		if _, err := m.Run(ctx, "systemd-run", "--unit=nebula", "/usr/local/bin/nebula", "-config", "/etc/nebula/config.yml"); err != nil {
			return err
		}
	}
	return nil
}
