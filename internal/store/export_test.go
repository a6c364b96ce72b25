package store

import "errors"

// ErrFullDisk is what an injected failure says.
var ErrFullDisk = errors.New("no space left on device")

// FailNextSave makes the next save write only its first n files, and fail.
func (s *Store) FailNextSave(n int) { s.disk = &failing{disk: s.disk, left: n} }

type failing struct {
	disk
	left   int
	failed bool
}

func (f *failing) save(changed []*entry, removed []Key) error {
	if f.failed {
		return f.disk.save(changed, removed)
	}
	f.failed = true
	return errors.Join(f.disk.save(changed[:min(f.left, len(changed))], nil), ErrFullDisk)
}
