package wireguard

import (
	"fmt"
	"strings"

	"github.com/atollhq/terraform-provider-atoll/internal/host"
)

const (
	interfaceName = "atoll0"
	unitName      = "atoll-wireguard.service"
	configDir     = "/etc/atoll/wireguard"
	runDir        = "/run/atoll-wireguard"
	configPath    = configDir + "/config.json"
	keyPath       = configDir + "/private.key"
	nextKeyPath   = configDir + "/private.next"
	filterPath    = configDir + "/filter.nft"
	statePath     = runDir + "/state.json"
	// socketPath is wireguard-go's own, left behind when the process is killed.
	socketPath = "/run/wireguard/" + interfaceName + ".sock"
)

// serviceUnit runs the tunnel. It stays root, with the one capability that interfaces, their settings below /proc/sys and
// the table need. A state that outlives a crash would say what is not true any more, hence the rm.
func serviceUnit(program string) host.Unit {
	return host.Unit{Name: unitName, Enabled: true, Running: true, Content: []byte(strings.TrimLeft(fmt.Sprintf(`
# Written by atolld; changes are overwritten.
[Unit]
Description=Atoll private mesh (WireGuard)
Documentation=https://www.wireguard.com/
After=network.target
StartLimitIntervalSec=0

[Service]
Type=notify
RuntimeDirectory=atoll-wireguard
RuntimeDirectoryMode=0700
RuntimeDirectoryPreserve=yes
ExecStartPre=-/bin/rm -f %[2]s
ExecStartPre=/usr/sbin/nft -f %[3]s
ExecStart=%[1]s wireguard
ExecReload=/bin/kill -HUP $MAINPID
Restart=always
RestartSec=1
WatchdogSec=30
TimeoutStopSec=5
Nice=-5
OOMScoreAdjust=-500
UMask=0077
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
ProtectSystem=strict
ReadWritePaths=/run
RestrictAddressFamilies=AF_INET AF_INET6 AF_NETLINK AF_UNIX
RestrictNamespaces=yes
RestrictRealtime=yes
RestrictSUIDSGID=yes
SystemCallArchitectures=native
SystemCallErrorNumber=EPERM
SystemCallFilter=@system-service

[Install]
WantedBy=multi-user.target
`, program, statePath, filterPath), "\n"))}
}
