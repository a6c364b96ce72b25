//go:build linux

package replicationtest

import (
	"fmt"
	"strconv"
	"strings"
	"testing"

	"golang.org/x/time/rate"

	"github.com/atollhq/terraform-provider-atoll/internal/lab/await"
)

// cameAhead waits until a side has said since a mark that contents have come ahead.
func (r *run) cameAhead(t *testing.T, s *side, since journalMark) {
	t.Helper()
	if r.CameAhead == "" {
		return
	}
	await.True(t, "contents have come ahead to "+s.Name, long, func() bool { return r.said(t, s, since, r.CameAhead) })
}

// journalMark is a place in a side's journal: its cursor, or how much there is of it where it is a file. "" is before everything.
type journalMark string

// journalEnd is after everything that a side has said.
func (s *side) journalEnd(t *testing.T) journalMark {
	t.Helper()
	return journalMark(strings.TrimSpace(s.Run(t, `if [ -e /run/journal ]; then wc -c </run/journal; else journalctl --sync; journalctl -q -n 1 -o cat --output-fields=_PID --show-cursor | sed -n 's/^-- cursor: //p'; fi`)))
}

// said tells whether a side's journal has a line since a mark.
func (r *run) said(t *testing.T, s *side, since journalMark, line string) bool {
	t.Helper()
	return strings.TrimSpace(s.Run(t, `if [ -e /run/journal ]; then tail -c +"$((${3:-0} + 1))" /run/journal; else journalctl --sync; journalctl -q --no-pager -o cat -u "$1" ${3:+--after-cursor="$3"}; fi | grep -c "$2" || true`, r.Unit(pairName), line, string(since))) != "0"
}

// stoppedAhead stops either side while contents come ahead of a synchronization over a way that takes minutes for all of them. It ends by itself, long before
// they have come, and after the next start all of it is there.
func (r *run) stoppedAhead(t *testing.T) {
	if r.CameAhead == "" {
		t.Log("NOT RUN: nothing comes ahead with this driver")
		return
	}
	defer r.narrow(rate.Inf)
	const files, size = 400, 10_000
	for _, from := range r.sides() {
		for _, stopped := range r.sides() {
			to := r.other(from)
			from.Run(t, `mkdir "$1/ahead"; for i in $(seq "$2"); do head -c "$3" /dev/urandom >"$1/ahead/$i"; done; chown -R www-data:www-data "$1/ahead"`,
				from.path, fmt.Sprint(files), fmt.Sprint(size))
			r.awaitSynced(t, long)
			stop := func(s *side) {
				t.Helper()
				since := s.journalEnd(t)
				if err := s.Sys.Units().Stop(t.Context(), r.Unit(pairName)); err != nil {
					t.Fatal(err)
				}
				await.True(t, "the worker of "+s.Name+" has ended by itself", long, func() bool { return r.said(t, s, since, r.Ended) })
			}
			stop(to)
			to.Run(t, `find "$1" -mindepth 1 -delete; mkdir "$1/.atoll"`, to.path)
			r.narrow(rate.Limit(files * size / 120))
			r.apply(t, to)
			came := func() int {
				t.Helper()
				n, err := strconv.Atoi(strings.TrimSpace(to.Run(t, `find "$1" -name .atoll -prune -o -type f -printf x | wc -c`, to.path)))
				if err != nil {
					t.Fatal(err)
				}
				return n
			}
			await.True(t, "something has come to "+to.Name, long, func() bool { return came() > 0 })
			stop(stopped)
			if n := came(); n >= files {
				t.Errorf("%s stopped when all of %s's %d files had come", stopped.Name, from.Name, n)
			}
			r.narrow(rate.Inf)
			r.apply(t, stopped)
			r.awaitSynced(t, long)
			from.Run(t, `rm -r "$1/ahead"`, from.path)
			r.awaitSynced(t, long)
		}
	}
}
