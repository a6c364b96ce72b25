package unison

import (
	"fmt"
	"strings"

	"github.com/atollhq/terraform-provider-atoll/internal/host"
	"github.com/atollhq/terraform-provider-atoll/internal/replication"
	"github.com/atollhq/terraform-provider-atoll/internal/replication/worker"
)

// afterUnit runs the command after changes of a pair, when its worker says so. It is a unit of its own, and no sandbox: an application's command talks to
// its database, writes to its caches and sends mail, none of which the pair's unit may do, which is root. This one is the account that the tree belongs
// to from its start, as if that had logged in, and outlasts restarts of the worker; whatever it has started ends with it.
func afterUnit(p replication.Pair, program string) host.Unit {
	return host.Unit{Name: worker.AfterUnit(p.Name), Enabled: true, Running: true, Content: []byte(strings.TrimLeft(fmt.Sprintf(`
# Written by atolld; changes are overwritten.
[Unit]
Description=Atoll pair %[1]s: the command after changes in %[2]s
RequiresMountsFor="%[2]s"
After=%[3]s network.target
StartLimitIntervalSec=0

[Service]
Type=simple
User=%[4]s
Group=%[5]s
ExecStart=%[6]s pair-after --socket %[7]s
Restart=always
RestartSec=5
TimeoutStopSec=5
KillMode=control-group
OOMPolicy=continue
UMask=0022
%[8]s
[Install]
WantedBy=multi-user.target
`, p.Name, p.Path, unitName(p.Name), p.Owner, p.Group, program, workerConfig(p).AfterSocket(), niceness(p.Limits)), "\n"))}
}
