package haproxy

import (
	"fmt"
	"strings"

	"github.com/atollhq/terraform-provider-atoll/internal/host"
)

const (
	unitPrefix = "atoll-dbproxy-"
	configDir  = "/etc/atoll/dbproxy"
)

func unitName(database string) string { return unitPrefix + database + ".service" }

func databaseDir(database string) string { return configDir + "/" + database }

func configPath(database string) string { return databaseDir(database) + "/haproxy.cfg" }

func runDir(database string) string { return "/run/" + unitPrefix + database }

// socketPath is where HAProxy takes commands.
func socketPath(database string) string { return runDir(database) + "/socket" }

// serviceUnit runs HAProxy as a user that exists only while it runs. It is one process that never replaces itself: one that was
// replaced would go on with its connections but check no server any more, and so never cut those to an old primary.
func serviceUnit(database, mark string) host.Unit {
	return host.Unit{Name: unitName(database), Enabled: true, Running: true, Content: []byte(strings.TrimLeft(fmt.Sprintf(`
# Written by atolld; changes are overwritten.
# Configuration %[2]s
[Unit]
Description=Atoll way to database %[1]s (HAProxy)
Documentation=man:haproxy(1)
After=network.target
StartLimitIntervalSec=0

[Service]
Type=exec
DynamicUser=yes
RuntimeDirectory=%[3]s%[1]s
RuntimeDirectoryMode=0700
LoadCredential=haproxy.cfg:%[4]s
ExecStart=/usr/sbin/haproxy -db -f ${CREDENTIALS_DIRECTORY}/haproxy.cfg
KillSignal=SIGTERM
SuccessExitStatus=143
Restart=always
RestartSec=1
TimeoutStopSec=5
UMask=0077
LimitNOFILE=65536
CapabilityBoundingSet=
LockPersonality=yes
MemoryDenyWriteExecute=yes
NoNewPrivileges=yes
PrivateDevices=yes
PrivateTmp=yes
ProtectClock=yes
ProtectControlGroups=yes
ProtectHome=yes
ProtectHostname=yes
ProtectKernelLogs=yes
ProtectKernelModules=yes
ProtectKernelTunables=yes
ProtectProc=invisible
ProtectSystem=strict
RestrictAddressFamilies=AF_INET AF_INET6 AF_UNIX
RestrictNamespaces=yes
RestrictRealtime=yes
RestrictSUIDSGID=yes
SystemCallArchitectures=native

[Install]
WantedBy=multi-user.target
`, database, mark, unitPrefix, configPath(database)), "\n"))}
}
