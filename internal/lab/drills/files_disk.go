//go:build linux

package drills

import (
	"context"
	"errors"
	"time"

	"github.com/atollhq/terraform-provider-atoll/internal/lab/rig"
)

// What moves the tree of a node to a file system of its own, with the options $1, and back: what is in it stays the same, so that it is
// the same tree.
const (
	onOwnDisk = `set -eu
mv ` + rig.PairPath + ` /srv/moved
mkdir ` + rig.PairPath + `
mount -t tmpfs -o "$1" tmpfs ` + rig.PairPath + `
cp -a /srv/moved/. ` + rig.PairPath + `
rm -rf /srv/moved`
	offOwnDisk = `set -eu
mountpoint -q ` + rig.PairPath + ` || exit 0
cp -a ` + rig.PairPath + ` /srv/moved
umount ` + rig.PairPath + `
rmdir ` + rig.PairPath + `
mv /srv/moved ` + rig.PairPath
	// onMount has the tree on a mount that can be taken away and brought back.
	onMount = `set -eu
mkdir /srv/disk
mv ` + rig.PairPath + ` /srv/disk/tree
mkdir ` + rig.PairPath + `
mount --bind /srv/disk/tree ` + rig.PairPath
	offMount = `set -eu
test -d /srv/disk/tree || exit 0
mountpoint -q ` + rig.PairPath + ` && umount ` + rig.PairPath + `
rmdir ` + rig.PairPath + `
mv /srv/disk/tree ` + rig.PairPath + `
rmdir /srv/disk`
)

// moved does something to the tree of the node that does not lead while nobody keeps it there.
func moved(ctx context.Context, f *Field, script string, args ...string) error {
	unit := filesPair(f).Unit()
	if err := f.HoldDown(ctx, unit, filesOther); err != nil {
		return err
	}
	err := on(ctx, f, filesOther, append([]string{"sh", "-c", script, "sh"}, args...)...)
	return errors.Join(err, f.LetGo(ctx, unit, filesOther))
}

// filesReadyAgain waits until all is well.
func filesReadyAgain(ctx context.Context, f *Field) error {
	return f.Await(ctx, "all is well", ReadyWithin, func(ctx context.Context) error { return filesReady(ctx, f) })
}

// fullDrill fills the file system of one node's tree from the other one. Small are the mount's options, large what ends it.
func fullDrill(c *Cluster, name, proves, small, large string, files []string) Drill {
	u := &uploads{pause: "0.1"}
	return Drill{
		Name: "files/" + name, Proves: proves, Cluster: c, Traffic: u.begin,
		Setup: func(ctx context.Context, f *Field) error {
			if err := moved(ctx, f, onOwnDisk, small); err != nil {
				return err
			}
			if err := filesReadyAgain(ctx, f); err != nil {
				return err
			}
			return u.prepare(ctx, f)
		},
		Inject: func(ctx context.Context, _ *Field) error {
			return u.start(ctx, filesOne, "make", "fill", files...)
		},
		Settle: func(ctx context.Context, f *Field) error {
			if err := filesSaid(ctx, f, "a disk that is full", "space", "full", "inode"); err != nil {
				return err
			}
			pause(ctx, fullLasts)
			return u.settled(ctx, func(ctx context.Context) error {
				return on(ctx, f, filesOther, "mount", "-o", "remount,"+large, rig.PairPath)
			})
		},
		Heal: func(ctx context.Context, f *Field) error {
			return errors.Join(u.clear(ctx, f), moved(ctx, f, offOwnDisk))
		},
		Verdict: u.nothingLost,
	}
}

// filesDiskFull has more come than fits.
func filesDiskFull(c *Cluster) Drill {
	return fullDrill(c, "disk-full", "what does not fit on one node's disk waits, with a word in the status, and is there as soon as there is room",
		"size=40m", "size=400m", []string{"count=2000", "size=30000", "sync=0"})
}

// filesInodesFull has more files come than there are inodes for.
func filesInodesFull(c *Cluster) Drill {
	return fullDrill(c, "inodes-full", "files for which one node has no inodes wait, with a word in the status, and are there as soon as it has",
		"size=400m,nr_inodes=1500", "nr_inodes=100000", []string{"count=3000", "size=100", "sync=0"})
}

// filesNotMounted has a node's worker start when its tree's file system is not mounted, while the other node writes.
func filesNotMounted(c *Cluster) Drill {
	u := &uploads{}
	return Drill{
		Name: "files/not-mounted", Cluster: c, Traffic: u.begin,
		Proves: "a tree that is not mounted is not taken for an empty one: nothing is deleted on the other node, the status says so, and all is well when it is mounted",
		Setup: func(ctx context.Context, f *Field) error {
			if err := moved(ctx, f, onMount); err != nil {
				return err
			}
			if err := filesReadyAgain(ctx, f); err != nil {
				return err
			}
			return u.base(ctx, f, 2*contested)
		},
		Inject: func(ctx context.Context, f *Field) error {
			if err := moved(ctx, f, "umount "+rig.PairPath); err != nil {
				return err
			}
			return u.start(ctx, filesOne, "steady", "meanwhile", "pause=0.02")
		},
		Settle: func(ctx context.Context, f *Field) error {
			if err := filesSaid(ctx, f, "a tree that is not mounted", rig.PairPath); err != nil {
				return err
			}
			pause(ctx, 10*time.Second)
			if there, err := versionsOn(ctx, u.pair, filesOne, u.dir+"/both"); err != nil || len(there) != 2*contested {
				return errors.Join(err, errors.New("files have gone on the other node"))
			}
			return u.settled(ctx, func(ctx context.Context) error {
				return on(ctx, f, filesOther, "mount", "--bind", "/srv/disk/tree", rig.PairPath)
			})
		},
		Heal: func(ctx context.Context, f *Field) error {
			return errors.Join(u.clear(ctx, f), moved(ctx, f, offMount))
		},
		Verdict: u.nothingLost,
	}
}
