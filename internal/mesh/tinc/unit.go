package tinc

import (
	"strings"

	"github.com/atollhq/terraform-provider-atoll/internal/host"
)

const (
	unitName    = "atoll-tinc.service"
	configDir   = "/etc/tinc/atoll"
	runDir      = "/run/atoll-tinc"
	logPath     = runDir + "/log"
	markerPath  = runDir + "/applied"
	corePath    = runDir + "/core"
	keyPath     = configDir + "/rsa_key.priv"
	nextKeyPath = configDir + "/rsa_key.next"
	mainPath    = configDir + "/tinc.conf"
	upPath      = configDir + "/tinc-up"
	comesPath   = configDir + "/subnet-up"
	goesPath    = configDir + "/subnet-down"
	filterPath  = configDir + "/filter.nft"
	holdDir     = configDir + "/hold"
	hostsDir    = configDir + "/hosts"
	// comeDir holds an empty file for each of tinc's names that is reachable.
	comeDir = runDir + "/come"
)

// serviceUnit runs tincd. It stays root because tinc-up configures the interface, with no more capabilities than that
// needs. The log is a file in memory since that is where tinc answers questions; the driver keeps it short. A process id
// file that outlives a crash could name somebody else's process and keep tincd from starting, hence the rm.
func serviceUnit() host.Unit {
	return host.Unit{Name: unitName, Enabled: true, Running: true, Content: []byte(strings.TrimLeft(`
# Written by atolld; changes are overwritten.
[Unit]
Description=Atoll private mesh (tinc)
Documentation=man:tincd(8)
After=network.target
StartLimitIntervalSec=0

[Service]
Type=simple
RuntimeDirectory=atoll-tinc
RuntimeDirectoryMode=0700
RuntimeDirectoryPreserve=yes
ExecStartPre=-/bin/rm -f `+runDir+`/pid
ExecStart=/usr/sbin/tincd --no-detach --debug=1 --config=`+configDir+` --pidfile=`+runDir+`/pid --logfile=`+logPath+`
ExecReload=/bin/kill -HUP $MAINPID
Restart=always
RestartSec=1
TimeoutStopSec=5
Nice=-5
CapabilityBoundingSet=CAP_NET_ADMIN CAP_NET_BIND_SERVICE
DevicePolicy=closed
DeviceAllow=/dev/net/tun rw
LockPersonality=yes
MemoryDenyWriteExecute=yes
NoNewPrivileges=yes
PrivateTmp=yes
ProtectClock=yes
ProtectControlGroups=yes
ProtectHome=yes
ProtectHostname=yes
ProtectKernelLogs=yes
ProtectKernelModules=yes
ProtectKernelTunables=yes
ProtectSystem=strict
RestrictAddressFamilies=AF_INET AF_INET6 AF_NETLINK AF_UNIX
RestrictNamespaces=yes
RestrictRealtime=yes
RestrictSUIDSGID=yes
SystemCallArchitectures=native

[Install]
WantedBy=multi-user.target
`, "\n"))}
}
