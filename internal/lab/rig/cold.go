//go:build linux

package rig

import (
	"context"
	"fmt"
	"strconv"
	"strings"
	"time"
)

// hasten has the pair's programs on a node move old directories at an interval ($2, in nanoseconds), and directories in which nothing has changed for a
// few seconds: a unit's own file goes before what the agent has written. $1 is the unit. unhasten ends that.
const (
	hasten = `set -eu
sed "s/\"interval\": [0-9]*/\"interval\": $2, \"settled\": 3000000000/" /etc/atoll/pairs/` + PairName + `/pair.json >/etc/atoll/hasty-pair.json
grep -q settled /etc/atoll/hasty-pair.json
program=$(sed -n 's/^ExecStart=\([^ ]*\) pair --config .*/\1/p' "/etc/systemd/system/$1")
mkdir -p "/etc/systemd/system/$1.d"
printf '[Service]\nExecStart=\nExecStart=%s pair --config /etc/atoll/hasty-pair.json\n' "$program" >"/etc/systemd/system/$1.d/hasty.conf"
systemctl daemon-reload
systemctl restart "$1"`
	unhasten = `set -eu
rm -r "/etc/systemd/system/$1.d" /etc/atoll/hasty-pair.json
systemctl daemon-reload
systemctl restart "$1"`
)

// Hasten has a pair that WithColdPair has made move directories when nothing has changed in them for seconds, where it takes minutes otherwise: for the
// first time 20 s after this at the latest, and then at an interval. It holds until Unhasten.
func (p *Pair) Hasten(ctx context.Context, interval time.Duration) error {
	return p.site.onEach(ctx, hasten, p.Nodes[:], p.Unit(), strconv.FormatInt(interval.Nanoseconds(), 10))
}

// Unhasten ends Hasten, before the pair is made to move nothing, or removed.
func (p *Pair) Unhasten(ctx context.Context) error {
	return p.site.onEach(ctx, unhasten, p.Nodes[:], p.Unit())
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
