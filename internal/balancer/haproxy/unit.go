package haproxy

import (
	"strings"

	"github.com/atollhq/terraform-provider-atoll/internal/host"
)

const (
	unitName   = "atoll-haproxy.service"
	configDir  = "/etc/atoll/haproxy"
	configPath = configDir + "/haproxy.cfg"
	// nextPath is where a configuration waits for HAProxy's judgement.
	nextPath = configDir + "/next.cfg"
	// bundleDir holds certificates with their keys.
	bundleDir = configDir + "/certificates"
	runDir    = "/run/atoll-haproxy"
	// socketPath is where the worker that serves answers, masterPath where the first process does.
	socketPath = runDir + "/socket"
	masterPath = runDir + "/master"
	chrootDir  = runDir + "/empty"
	// maxConnections is how many connections the proxy takes at a time. Each costs up to 35 kB of memory, twice that with TLS.
	maxConnections = 4096
)

// serviceUnit runs HAProxy, which replaces its worker process to take a new configuration: the old one passes its ports on and
// ends with its last connection. The first process stays root to read keys, with no more capabilities than that and the
// change of user need; it sends signals to workers of another user (KILL).
func serviceUnit() host.Unit {
	return host.Unit{Name: unitName, Enabled: true, Running: true, Content: []byte(strings.TrimLeft(`
# Written by atolld; changes are overwritten.
[Unit]
Description=Atoll proxy in front of the application (HAProxy)
Documentation=man:haproxy(1)
After=network.target
StartLimitIntervalSec=0

[Service]
Type=notify
RuntimeDirectory=atoll-haproxy atoll-haproxy/empty
RuntimeDirectoryMode=0700
ExecStart=/usr/sbin/haproxy -Ws -f `+configPath+` -S `+masterPath+`,mode,600
ExecReload=/bin/kill -USR2 $MAINPID
KillMode=mixed
SuccessExitStatus=143
Restart=always
RestartSec=1
TimeoutStopSec=5
LimitNOFILE=65536
CapabilityBoundingSet=CAP_NET_BIND_SERVICE CAP_SETUID CAP_SETGID CAP_SYS_CHROOT CAP_KILL
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
ProtectSystem=strict
RestrictAddressFamilies=AF_INET AF_INET6 AF_UNIX
RestrictNamespaces=yes
RestrictRealtime=yes
RestrictSUIDSGID=yes
SystemCallArchitectures=native

[Install]
WantedBy=multi-user.target
`, "\n"))}
}
