//go:build linux

package rig

import (
	"context"
	"errors"
	"fmt"
)

// What a unit of systemd needs to be stopped and to stay so, although somebody starts it again and again, as agents do; and what ends
// that. A unit of /etc cannot be masked for a time. Whoever wants the opposite at the same moment cancels the job, so it is tried again.
const (
	tryAgain = `
for try in 1 2 3 4 5 6 7 8 9; do
	systemctl "$verb" "$1" && exit 0
	sleep 0.2
done
exec systemctl "$verb" "$1"`
	holdUnit = `set -eu
mkdir -p "/run/systemd/system/$1.d"
printf '[Unit]\nAssertPathExists=/nothing/holds/it\n' >"/run/systemd/system/$1.d/held.conf"
systemctl daemon-reload
verb=stop` + tryAgain
	freeUnit = `set -eu
rm -rf "/run/systemd/system/$1.d"
systemctl daemon-reload
systemctl reset-failed "$1" || true
verb=start` + tryAgain
)

// HoldDown stops a unit on nodes and keeps it from being started, until LetGo or the end of the node's power.
func (s *Site) HoldDown(ctx context.Context, unit string, nodes ...string) error {
	return s.onEach(ctx, holdUnit, nodes, unit)
}

// LetGo ends HoldDown and starts the unit. Where it was not held it is started.
func (s *Site) LetGo(ctx context.Context, unit string, nodes ...string) error {
	return s.onEach(ctx, freeUnit, nodes, unit)
}

// onEach runs a script about a unit, and other arguments of it, on nodes, at the same time.
func (s *Site) onEach(ctx context.Context, script string, nodes []string, unit string, more ...string) error {
	done := make(chan error, len(nodes))
	for _, n := range nodes {
		go func() {
			_, err := s.Exec(ctx, n, append([]string{"sh", "-c", script, "sh", unit}, more...)...)
			if err != nil {
				err = fmt.Errorf("%s of %s: %w", unit, n, err)
			}
			done <- err
		}()
	}
	var errs []error
	for range nodes {
		errs = append(errs, <-done)
	}
	return errors.Join(errs...)
}
