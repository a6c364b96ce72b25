package unison

import (
	"crypto/sha256"
	"encoding/hex"
	"fmt"
	"path"
	"strings"

	"github.com/atollhq/terraform-provider-atoll/internal/host"
	"github.com/atollhq/terraform-provider-atoll/internal/replication"
	"github.com/atollhq/terraform-provider-atoll/internal/spec"
)

const (
	unitPrefix = "atoll-pair-"
	configDir  = "/etc/atoll/pairs"
	stateRoot  = "/var/lib/atoll-pairs"
)

func unitName(pair string) string { return unitPrefix + pair + ".service" }

func pairDir(pair string) string { return configDir + "/" + pair }

func configPath(pair string) string { return pairDir(pair) + "/pair.json" }

func runDir(pair string) string { return "/run/" + unitPrefix + pair }

// snapshotDirs are where snapshots of a pair's tree may be: beside the tree, where they are on its file system, or else where there is room.
func snapshotDirs(p replication.Pair) []string {
	return []string{path.Join(path.Dir(p.Path), ".atoll-snapshots", p.Name), "/var/lib/atoll-snapshots/" + p.Name}
}

func stateDir(pair string) string { return stateRoot + "/" + pair }

// lines renders what only some pairs have.
func lines(p replication.Pair) string {
	var out strings.Builder
	if p.Cold != nil {
		fmt.Fprintf(&out, "ReadWritePaths=\"-%s\"\n", p.Cold.Path)
	}
	for _, dir := range snapshotDirs(p) {
		fmt.Fprintf(&out, "ReadWritePaths=\"-%s\"\n", dir)
	}
	out.WriteString(niceness(p.Limits))
	if p.Limits.Memory != 0 {
		// Beyond this, pages are taken back; there is no hard limit that would kill in the middle.
		fmt.Fprintf(&out, "MemoryHigh=%dM\n", p.Limits.Memory)
	}
	return out.String()
}

// niceness renders how much of the processors and of the disk programs take from others.
func niceness(limits spec.PairLimits) string {
	var out strings.Builder
	if limits.Nice != 0 {
		fmt.Fprintf(&out, "Nice=%d\n", limits.Nice)
	}
	if limits.IO == spec.IOIdle {
		out.WriteString("IOSchedulingClass=idle\n")
	}
	return out.String()
}

// serviceUnit runs a pair's worker. It is root with few capabilities, each for one thing, and can write to nothing but the tree, its state and
// its sockets; unison, which it starts, is the account that the tree belongs to and has none of them.
//
// SYS_ADMIN: watch a whole file system, keep out of the tree what is mounted in it. DAC_READ_SEARCH, DAC_OVERRIDE: look and write into the account's directories. CHOWN, FOWNER:
// give it what is its own. FSETID: keep set-group-ID in a snapshot. SETUID, SETGID, KILL: start unison as it and end it.
func serviceUnit(p replication.Pair, program string, config []byte) host.Unit {
	sum := sha256.Sum256(config)
	return host.Unit{Name: unitName(p.Name), Enabled: true, Running: true, Content: []byte(strings.TrimLeft(fmt.Sprintf(`
# Written by atolld; changes are overwritten.
# Configuration %[6]s
[Unit]
Description=Atoll pair %[1]s: %[2]s
Documentation=man:unison(1)
RequiresMountsFor="%[2]s"
After=local-fs.target network.target
StartLimitIntervalSec=0

[Service]
Type=exec
ExecStartPre=-+%[3]s pair --prepare --config %[4]s
ExecStart=%[3]s pair --config %[4]s
Restart=always
RestartSec=1
TimeoutStopSec=10
KillMode=control-group
OOMPolicy=stop
UMask=0022
LimitNOFILE=65536
RuntimeDirectory=%[5]s%[1]s
RuntimeDirectoryMode=0711
StateDirectory=atoll-pairs/%[1]s
StateDirectoryMode=0711
%[7]s
CapabilityBoundingSet=CAP_SYS_ADMIN CAP_DAC_READ_SEARCH CAP_DAC_OVERRIDE CAP_CHOWN CAP_FOWNER CAP_FSETID CAP_SETUID CAP_SETGID CAP_KILL
DevicePolicy=closed
LockPersonality=yes
NoNewPrivileges=yes
PrivateNetwork=yes
PrivateTmp=yes
ProtectClock=yes
ProtectControlGroups=yes
ProtectHostname=yes
ProtectKernelLogs=yes
ProtectKernelModules=yes
ProtectKernelTunables=yes
ProtectSystem=strict
ReadWritePaths="-%[2]s"
RestrictAddressFamilies=AF_UNIX
RestrictNamespaces=yes
RestrictRealtime=yes
SystemCallArchitectures=native
SystemCallErrorNumber=EPERM
SystemCallFilter=~@clock @cpu-emulation @debug @module @obsolete @raw-io @reboot @swap

[Install]
WantedBy=multi-user.target
`, p.Name, p.Path, program, configPath(p.Name), unitPrefix, hex.EncodeToString(sum[:8]), lines(p)), "\n"))}
}

// forgetUnitName is the unit that takes back what a pair has left on the node. Its name is no pair's unit's.
func forgetUnitName(pair string) string { return "atoll-forget-pair-" + pair + ".service" }

// forgetUnit removes, once and with full rights, what only a pair's own unit may write to.
func forgetUnit(pair, program string) host.Unit {
	return host.Unit{Name: forgetUnitName(pair), Running: true, Content: fmt.Appendf(nil, `# Written by atolld; changes are overwritten.
[Unit]
Description=Atoll pair %[1]s: what it leaves behind

[Service]
Type=oneshot
ExecStart=%[2]s pair --forget --config %[3]s
TimeoutStartSec=60
`, pair, program, configPath(pair))}
}
