package main

import (
	"context"
	"fmt"

	"golang.org/x/sys/unix"

	"github.com/atollhq/terraform-provider-atoll/internal/lab/rig"
)

// For six minutes ext4 does not use the inode of a removed file again, and looks through all of these for each file that is made nearby (recently_deleted
// in fs/ext4/ialloc.c): what one way leaves behind would be a burden of the next.

// makeRoom takes the tree of the way before away. It is removed only where there is no room for it until the end.
func (m *filesMeasure) makeRoom(ctx context.Context, h filesHost) error {
	tree, err := h.path("/srv")
	if err != nil {
		return err
	}
	var disk unix.Statfs_t
	if err := unix.Statfs(tree, &disk); err != nil {
		return fmt.Errorf("how much room is there in %s: %w", tree, err)
	}
	away := `mkdir -p /srv/earlier; mv "$1" "/srv/earlier/$(date +%s%N)"`
	one := uint64(m.files+m.filesOptions.burst) * uint64(m.size)                        //nolint:gosec // neither is below 0
	if free := disk.Bavail * uint64(disk.Frsize); free < 6*one || free-6*one < 10<<30 { //nolint:gosec // the same
		away = `rm -rf "$1"`
	}
	_, err = h.run(ctx, "sh", "-euc", `if [ -e "$1" ]; then `+away+`; fi; rm -rf /srv/spare; mkdir -p /srv/spare`, "sh", rig.PairPath)
	return err
}
