//go:build linux

package drills

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"time"
)

// onSmallDisk moves a member's data to a disk of its own of that many MiB, $1. offSmallDisk moves it back.
const (
	onSmallDisk = `set -eu
systemctl stop atolld.service ` + databaseUnit + `
mv ` + dataFolder + ` /root/data
mkdir ` + dataFolder + `
mount -t tmpfs -o size=$1m tmpfs ` + dataFolder + `
cp -a /root/data/. ` + dataFolder + `
chown --reference=/root/data ` + dataFolder + `
chmod --reference=/root/data ` + dataFolder + `
rm -rf /root/data
systemctl start atolld.service`
	offSmallDisk = `set -eu
mountpoint -q ` + dataFolder + ` || exit 0
rm -f ` + dataFolder + `/filler
systemctl stop atolld.service ` + databaseUnit + `
cp -a ` + dataFolder + ` /root/data
umount ` + dataFolder + `
rmdir ` + dataFolder + `
mv /root/data ` + dataFolder + `
systemctl start atolld.service`
	// nearlyFillDisk leaves 150 MiB, fillDisk leaves nothing of the disk to anybody.
	nearlyFillDisk = `free=$(df --output=avail --block-size=1M ` + dataFolder + ` | tail -n 1)
dd if=/dev/zero of=` + dataFolder + `/filler bs=1M count=$((free - 150)) 2>/dev/null`
	fillDisk = "dd if=/dev/zero of=" + dataFolder + "/filler oflag=append conv=notrunc bs=64k 2>/dev/null || test -s " + dataFolder + "/filler"
)

// smallDisk is the size of a disk that is to be full, in MiB, and fullLasts how long it is.
const (
	smallDisk = "700"
	fullLasts = 10 * time.Second
)

// diskDrill fills the disk of the primary with a command. What is to be so while it is full is full's to say; it may be nil.
func diskDrill(c *Cluster, name, proves, fill string, limit time.Duration, full func(ctx context.Context, f *Field, w *writers) error) Drill {
	w := &writers{}
	var victim string
	return Drill{
		Name: "database/" + name, Proves: proves, Cluster: c, Traffic: w.begin,
		Setup: func(ctx context.Context, f *Field) error {
			d := database(f)
			primary, err := d.Primary(ctx)
			if err != nil {
				return err
			}
			victim = d.Others(primary)[0]
			if err := on(ctx, f, victim, "sh", "-c", onSmallDisk, "sh", smallDisk); err != nil {
				return err
			}
			if err := allReady(ctx, f); err != nil {
				return err
			}
			if _, err := f.Atoll(ctx, "switchover", "--database", d.Name(), "--to", victim); err != nil {
				return err
			}
			return allReady(ctx, f)
		},
		Inject: func(ctx context.Context, f *Field) error {
			w.survivors = w.database.Others(w.primary)
			return on(ctx, f, w.primary, "sh", "-c", fill)
		},
		Settle: func(ctx context.Context, f *Field) error {
			if err := w.failedOver(ctx, f); err != nil {
				return err
			}
			if err := full(ctx, f, w); err != nil {
				return err
			}
			pause(ctx, fullLasts)
			if err := on(ctx, f, w.primary, "rm", "-f", dataFolder+"/filler"); err != nil {
				return err
			}
			return w.whole(ctx, f)
		},
		Heal: func(ctx context.Context, f *Field) error {
			var err error
			if victim != "" {
				err = on(ctx, f, victim, "sh", "-c", offSmallDisk)
			}
			return errors.Join(err, healDatabase(ctx, f))
		},
		Verdict: func(ctx context.Context, f *Field, o Outcome) error {
			return errors.Join(w.within(limit), w.invariants(ctx, f, o))
		},
	}
}

// databaseDiskFills has the primary's disk fill as disks do: there is little room first, then none.
func databaseDiskFills(c *Cluster) Drill {
	return diskDrill(c, "disk-fills", "a primary whose disk fills hands over before it is full, which takes a moment, and is whole again when there is room",
		nearlyFillDisk, momentObjective, func(ctx context.Context, f *Field, w *writers) error {
			return on(ctx, f, w.primary, "sh", "-c", fillDisk)
		})
}

// fullObjective is how long nobody may be able to write when the primary's disk is full at once: some seconds until that is known and
// no room has been made, and then it goes, as one that has crashed.
const fullObjective = 5*time.Second + failoverObjective

// databaseDiskFull leaves the primary no room from one moment to the next.
func databaseDiskFull(c *Cluster) Drill {
	return diskDrill(c, "disk-full", "a primary whose disk is full at once, so that all writes hang, leaves the group, stays out while there is no room and says why, and comes back when there is",
		fillDisk, fullObjective, func(ctx context.Context, f *Field, w *writers) error {
			return f.Measure(ctx, "the status says so", time.Minute, func(ctx context.Context) error {
				status, _, err := f.Status(ctx)
				if err != nil {
					return err
				}
				m := status.Databases[w.database.Name()].Members[w.primary]
				if text := m.Problem + m.Progress; !strings.Contains(text, "left") || !strings.Contains(text, dataFolder) {
					return fmt.Errorf("%s is %s and says %q", w.primary, m.State, text)
				}
				return nil
			})
		})
}
