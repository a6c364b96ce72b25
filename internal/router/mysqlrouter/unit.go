package mysqlrouter

import (
	"fmt"
	"strings"

	"github.com/atollhq/terraform-provider-atoll/internal/host"
)

const (
	unitPrefix = "atoll-mysqlrouter-"
	configDir  = "/etc/atoll/mysqlrouter"
)

func unitName(database string) string { return unitPrefix + database + ".service" }

// databaseDir is where the driver writes, runDir where the running Router reads and writes.
func databaseDir(database string) string { return configDir + "/" + database }

func runDir(database string) string { return "/run/" + unitPrefix + database }

// serviceUnit runs Router as a user that exists only while it runs. Root's files reach it as credentials of the unit; Router wants
// its keyring writable by itself, which credentials are not, and writes its state.
//
// While it finds no member that is online, Router says so of each of them every time it asks: the journal takes part of it.
//
// It has nothing to put in order when it ends, and cuts connections anyway: who does not end at once is stuck.
//
// Router does not say that it is ready before it has met a member, so the service manager does not wait for that (Type=exec): in a
// full outage a boot would.
func serviceUnit(database, digest string) host.Unit {
	return host.Unit{Name: unitName(database), Enabled: true, Running: true, Content: []byte(strings.TrimLeft(fmt.Sprintf(`
# Written by atolld; changes are overwritten.
# Configuration %[2]s
[Unit]
Description=Atoll way to database %[1]s (MySQL Router)
Documentation=https://dev.mysql.com/doc/mysql-router/en/
After=network.target
StartLimitIntervalSec=0

[Service]
Type=exec
DynamicUser=yes
RuntimeDirectory=%[3]s%[1]s
RuntimeDirectoryMode=0700
LoadCredential=mysqlrouter.conf:%[4]s/mysqlrouter.conf
LoadCredential=keyring:%[4]s/keyring
LoadCredential=master.key:%[4]s/master.key
LoadCredential=state.json:%[4]s/state.json
ExecStartPre=/usr/bin/install -m 0600 -t ${RUNTIME_DIRECTORY} ${CREDENTIALS_DIRECTORY}/keyring ${CREDENTIALS_DIRECTORY}/master.key ${CREDENTIALS_DIRECTORY}/state.json
ExecStart=/usr/bin/mysqlrouter --config ${CREDENTIALS_DIRECTORY}/mysqlrouter.conf
Restart=always
RestartSec=1
TimeoutStopSec=2
UMask=0077
LogRateLimitIntervalSec=1min
LogRateLimitBurst=200
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
`, database, digest, unitPrefix, databaseDir(database)), "\n"))}
}
