//go:build linux

package rig

import (
	"context"
	"fmt"
	"strings"
)

// hasten has the pair's programs on a node move old directories every few seconds, and directories in which nothing has changed for a few seconds:
// a unit's own file goes before what the agent has written. $1 is the unit.
const hasten = `set -eu
sed 's/"interval": [0-9]*/"interval": 5000000000, "settled": 3000000000/' /etc/atoll/pairs/` + PairName + `/pair.json >/etc/atoll/hasty-pair.json
grep -q settled /etc/atoll/hasty-pair.json
program=$(sed -n 's/^ExecStart=\([^ ]*\) pair --config .*/\1/p' "/etc/systemd/system/$1")
mkdir -p "/etc/systemd/system/$1.d"
printf '[Service]\nExecStart=\nExecStart=%s pair --config /etc/atoll/hasty-pair.json\n' "$program" >"/etc/systemd/system/$1.d/hasty.conf"
systemctl daemon-reload
systemctl restart "$1"`

// Hasten has a pair that WithColdPair has made move its old directories within seconds, where it takes minutes at least otherwise. It holds until the
// agent writes another configuration.
func (p *Pair) Hasten(ctx context.Context) error {
	return p.site.onEach(ctx, hasten, p.Unit(), p.Nodes[:])
}

// Moved returns an error unless directories of the tree are links on a node.
func (p *Pair) Moved(ctx context.Context, node string, dirs ...string) error {
	return p.each(ctx, node, "is not moved", "test -L", dirs)
}

// NotMoved returns an error unless directories of the tree are directories on a node.
func (p *Pair) NotMoved(ctx context.Context, node string, dirs ...string) error {
	return p.each(ctx, node, "is moved", "test ! -L $d -a -d", dirs)
}

// each returns an error that names the first directory on a node that a test fails for.
func (p *Pair) each(ctx context.Context, node, complaint, test string, dirs []string) error {
	out, err := p.Run(ctx, node, "for d in "+strings.Join(dirs, " ")+"; do "+test+" $d || { echo $d; break; }; done")
	if err != nil {
		return err
	}
	if dir := strings.TrimSpace(out); dir != "" {
		return fmt.Errorf("%s %s on %s", dir, complaint, node)
	}
	return nil
}
