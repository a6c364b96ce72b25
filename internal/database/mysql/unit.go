package mysql

import (
	"strings"

	"github.com/atollhq/terraform-provider-atoll/internal/host"
)

// Paths. The data is not in /var/lib/mysql: what is there belongs to Debian's package, which fills it when it is installed and
// starts a server on it when it is upgraded.
const (
	unitName  = "atoll-mysql.service"
	configDir = "/etc/atoll/mysql"
	// configPath is the server's configuration, nextPath where one waits for the server's judgement.
	configPath  = configDir + "/my.cnf"
	nextPath    = configDir + "/next.cnf"
	preparePath = configDir + "/prepare"
	initPath    = configDir + "/init.sql"
	// livePath says which settings the running server has been told since its start.
	livePath = "/run/atoll-mysql.json"

	stateDir = "/var/lib/atoll-mysql"
	// currentDir holds the data and originPath, whose content is the group that the data belongs to.
	currentDir = stateDir + "/current"
	originPath = currentDir + "/group"
	dataDir    = currentDir + "/data"
	// startedPath is the configuration that the server was started with.
	startedPath = stateDir + "/started.cnf"

	// socketPath is where every client of MySQL looks for a server.
	runDir     = "/run/mysqld"
	socketPath = runDir + "/mysqld.sock"
	pidPath    = runDir + "/mysqld.pid"
)

// serviceUnit runs the server as Debian's user mysql. It gets its files as credentials, because what the agent writes only root
// can read.
//
// Debian's AppArmor profile knows only the paths of Debian's own service. The unit's own limits take its place: they are
// narrower. AppArmorProfile= is about the program that the unit starts: a shell needs unprofiled for the server that it starts.
func serviceUnit() host.Unit {
	return host.Unit{Name: unitName, Enabled: true, Running: true, Content: []byte(strings.TrimLeft(`
# Written by atolld; changes are overwritten.
[Unit]
Description=Atoll member of a MySQL InnoDB Cluster
Documentation=man:mysqld(8) https://dev.mysql.com/doc/refman/en/
After=network.target
Conflicts=mysql.service
StartLimitIntervalSec=0

[Service]
Type=notify
User=mysql
Group=mysql
StateDirectory=atoll-mysql
StateDirectoryMode=0750
RuntimeDirectory=mysqld
RuntimeDirectoryMode=0755
LoadCredential=my.cnf:`+configPath+`
LoadCredential=init.sql:`+initPath+`
LoadCredential=prepare:`+preparePath+`
# The server starts itself again after it was replaced by a copy; that needs somebody who does it.
Environment=MYSQLD_PARENT_PID=1
ExecStartPre=/bin/sh %d/prepare
ExecStart=/usr/sbin/mysqld --defaults-file=%d/my.cnf
Restart=always
RestartSec=200ms
# Data that is not this group's does not become so by trying again.
RestartPreventExitStatus=78
# The server may have much to do before it answers: data to make, a crash to mend.
TimeoutStartSec=infinity
TimeoutStopSec=120
LimitNOFILE=65536
OOMScoreAdjust=-250
AppArmorProfile=-unconfined
CapabilityBoundingSet=
AmbientCapabilities=
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
RemoveIPC=yes
# Netlink is how the group looks for the server's own address.
RestrictAddressFamilies=AF_INET AF_INET6 AF_NETLINK AF_UNIX
RestrictNamespaces=yes
RestrictRealtime=yes
RestrictSUIDSGID=yes
SystemCallArchitectures=native
SystemCallFilter=@system-service
SystemCallErrorNumber=EPERM
UMask=0027

[Install]
WantedBy=multi-user.target
`, "\n"))}
}

// unprofiled is a command of a shell: the next program that the shell becomes has no AppArmor profile, which the kernel would else
// choose by the program's path. (aa_change_onexec(2) writes the same.) Without AppArmor it does nothing.
const unprofiled = `{ echo "exec unconfined" >/proc/self/attr/apparmor/exec; } 2>/dev/null || true`

// initStatements run in a server that makes its data. The plugin is loaded by the configuration from then on.
const initStatements = `SET SESSION sql_log_bin = OFF;
INSTALL PLUGIN auth_socket SONAME 'auth_socket.so';
ALTER USER 'root'@'localhost' IDENTIFIED WITH auth_socket;
UNINSTALL PLUGIN auth_socket;
`

// prepare returns the script that runs before each start of the server, as its user: it makes data where there is none, refuses
// what is not the group's, and waits for the address.
func prepare(group, address string, hexAddress string) string {
	return strings.NewReplacer("@state", stateDir, "@group", group, "@started", startedPath, "@unprofiled", unprofiled,
		"@address", address, "@hex", hexAddress).Replace(`# Written by atolld; changes are overwritten.
set -eu
umask 0027
current=@state/current
if [ ! -d "$current/data" ] || [ -z "$(ls -A "$current/data")" ]; then
  # Either all of it or nothing: what a power cut has left of an attempt is no data.
  rm -rf @state/new
  mkdir @state/new
  # By its path the server would get Debian's AppArmor profile, which does not know these paths.
  (
    @unprofiled
    exec /usr/sbin/mysqld --defaults-file="$CREDENTIALS_DIRECTORY/my.cnf" --datadir=@state/new/data \
      --initialize-insecure --init-file="$CREDENTIALS_DIRECTORY/init.sql" --super-read-only=OFF
  )
  echo @group >@state/new/group
  sync
  if [ -e "$current" ]; then mv -T "$current" "@state/wiped-$(date -u +%Y%m%dT%H%M%SZ)"; fi
  mv -T @state/new "$current"
fi
if [ "$(cat "$current/group" 2>/dev/null)" != @group ]; then
  echo "$current/data is not data of the group @group: move it away" >&2
  exit 78
fi
# What a power cut or a full disk has left of an earlier copy is read-only.
rm -f @started.new
cp "$CREDENTIALS_DIRECTORY/my.cnf" @started.new
mv -T @started.new @started
# After a boot the server may be there before the mesh.
for i in $(seq 600); do
  if grep -qsF -e '|-- @address' /proc/net/fib_trie || grep -qs '^@hex' /proc/net/if_inet6; then exit 0; fi
  sleep 0.1
done
echo "the address @address is not there after a minute" >&2
`)
}
