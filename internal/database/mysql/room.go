package mysql

import (
	"context"
	"errors"
	"fmt"
	"strconv"
	"strings"
	"sync"
	"time"

	"github.com/atollhq/terraform-provider-atoll/internal/host"
)

const (
	// scarce is how little room makes a member unfit to be the primary, in bytes. A server whose disk is full waits for room with
	// everything that writes, for ever if need be, and is a good member to the group all the while.
	scarce = 192 * mib
	// exhausted is how little of it is as good as none: the server writes more than that at a time.
	exhausted = 8 * mib
	// roomLasts is for how long a look at the disk is believed: long enough to cost nothing, short enough that a fast writer
	// does not fill what is left meanwhile.
	roomLasts = 2 * time.Second
)

// room is how much room is left where the data is.
type room struct {
	mu   sync.Mutex
	at   time.Time
	free uint64
	err  error
}

// unfit tells why the disk does not let the member be the primary, "" when it does or nobody knows.
func (r *room) unfit(ctx context.Context, sys host.System) string {
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.at.IsZero() || time.Since(r.at) > roomLasts {
		r.free, r.err = freeRoom(ctx, sys)
		if ctx.Err() != nil {
			return "" // it was not the disk's fault
		}
		r.at = time.Now()
	}
	if r.err != nil || r.free >= scarce {
		return ""
	}
	return fmt.Sprintf("%s are left below %s: make room, or the server stops taking writes", size(r.free), stateDir)
}

// none tells whether there was no room at all at the last look.
func (r *room) none() bool {
	r.mu.Lock()
	defer r.mu.Unlock()
	return !r.at.IsZero() && r.err == nil && r.free < exhausted
}

var errNoRoom = errors.New("df says nothing that can be read")

// freeRoom returns how many bytes an ordinary user may still write where the data is.
func freeRoom(ctx context.Context, sys host.System) (uint64, error) {
	out, err := sys.Run(ctx, host.Command{Name: "df", Args: []string{"--output=avail", "--block-size=1", stateDir}, ReadOnly: true})
	if err != nil {
		return 0, fmt.Errorf("read how much room is on the disk: %w", err)
	}
	f := strings.Fields(string(out.Stdout))
	if len(f) != 2 {
		return 0, fmt.Errorf("read how much room is on the disk: %w: %q", errNoRoom, out.Stdout)
	}
	free, err := strconv.ParseUint(f[1], 10, 64)
	if err != nil {
		return 0, fmt.Errorf("read how much room is on the disk: %w", err)
	}
	return free, nil
}
