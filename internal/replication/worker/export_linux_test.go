package worker

import "context"

// Receives tells whether what is mounted elsewhere arrives at a mount.
func Receives(list []byte, path string) bool { return receives(list, path) }

// Durable is what keeps count of what is on the disk, as a start in a boot has it.
type Durable struct{ h *Host }

// NewDurable begins in a boot; it tells whether the one before has ended with something not on the disk.
func NewDurable(c Config, boot string) (d Durable, crashed bool, err error) {
	s, err := readState(c.StateDir)
	if err != nil {
		return d, false, err
	}
	crashed, err = s.begin(boot)
	return Durable{&Host{Config: c, state: s, unsynced: s.unsynced(), carried: &carried{}, wrote: make(chan struct{}, 1)}}, crashed, err
}

// Writes, Wrote and Sync are what happens in a round and beside it.
func (d Durable) Writes() error { return d.h.writes() }

// Wrote ends a round.
func (d Durable) Wrote() { d.h.Rests() }

// Sync brings everything to the disk.
func (d Durable) Sync(over bool) error { return d.h.sync(over) }

// KeepSynced syncs as it has to until ctx ends.
func (d Durable) KeepSynced(ctx context.Context) { d.h.keepSynced(ctx) }

// Marked tells that not all is on the disk, as far as a later boot can know.
func (d Durable) Marked() bool { return d.h.state.unsynced() }

// CaughtUp tells that both sides were found equal.
func (d Durable) CaughtUp() error { return d.h.state.caughtUp() }

// Trusts tells whether what is known is trusted, Behind whether the other side's versions count.
func (d Durable) Trusts() (trusts, behind bool) { return !d.h.state.kept.Distrusted, d.h.Behind() }
