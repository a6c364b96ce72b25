//go:build linux

package drills

import (
	"context"
	_ "embed" // what waits for a phase
	"errors"
	"fmt"
	"strconv"
	"time"

	"github.com/atollhq/terraform-provider-atoll/internal/lab/rig"
)

// coldPhase waits on a node until a move of old directories has come to a phase.
//
//go:embed files_cold_phase.pl
var coldPhase string

// coldInterval is how often old directories are moved in a drill.
const coldInterval = 5 * time.Second

// filesColdDrills are what may happen while old directories are moved.
func filesColdDrills() []Drill {
	c := filesColdCluster()
	return []Drill{
		filesColdKilled(c), filesColdPowerCut(c), filesColdDiskFull(c), filesColdBeingWritten(c), filesColdBacklog(c),
	}
}

// filesColdCluster is the reference topology with its pair, which moves old directories every few seconds.
func filesColdCluster() *Cluster {
	return &Cluster{
		Name: "two of three nodes keep a tree and move what is old", Env: []string{rig.WithColdPair(filesOne, filesOther)},
		Prepare: func(ctx context.Context, f *Field) error {
			if err := f.Apply(ctx); err != nil {
				return err
			}
			return filesPair(f).Hasten(ctx, coldInterval)
		},
		Ready: filesReady,
	}
}

// day is the folder in a drill's own that an application of mode dated files under a number.
func day(i int) string {
	return fmt.Sprintf("%04d/%02d/%02d", 2001+i/336, 1+i%336/28, 1+i%28)
}

// days are those of so many numbers, from the tree's root.
func (u *uploads) days(count int) []string {
	var out []string
	for i := range count {
		out = append(out, u.dir+"/"+day(i))
	}
	return out
}

// file has an application on a node make folders of old days, each with so many files, and end.
func (u *uploads) file(ctx context.Context, node string, from, count, each int, options ...string) error {
	options = append([]string{"from=" + strconv.Itoa(from), "count=" + strconv.Itoa(count), "each=" + strconv.Itoa(each)}, options...)
	r, err := launch(ctx, u.f, u.account, node, "dated", u.dir, fmt.Sprintf("%s-days-%d", node, from), options...)
	if err != nil {
		return err
	}
	return r.wait()
}

// moved waits until folders are moved on nodes.
func (u *uploads) moved(ctx context.Context, within time.Duration, dirs []string, nodes ...string) error {
	for _, node := range nodes {
		err := u.f.Await(ctx, "all are moved on "+node, within, func(ctx context.Context) error { return u.pair.Moved(ctx, node, dirs...) })
		if err != nil {
			return err
		}
	}
	return nil
}

// tidy returns what a move has left on a node, none when all is done.
func (u *uploads) tidy(ctx context.Context, node string) error {
	out, err := u.pair.Run(ctx, node, "ls -A .atoll-cold/aside .atoll-cold/root/.atoll-cold/staging | grep -v : || true")
	if err == nil && len(out) > 1 {
		err = fmt.Errorf("%s has left %q", node, out)
	}
	return err
}

// settledCold is settled for a drill whose folders are all to be moved, with nothing left over.
func (u *uploads) settledCold(ctx context.Context, dirs []string) error {
	if err := u.moved(ctx, 4*time.Minute, dirs, u.pair.Nodes[0], u.pair.Nodes[1]); err != nil {
		return err
	}
	if err := u.settled(ctx, nil); err != nil {
		return err
	}
	for _, node := range u.pair.Nodes {
		// After a run that has taken long the next one, which removes what was replaced, comes as long after it.
		err := u.f.Await(ctx, "nothing is left of a move", ReadyWithin, func(ctx context.Context) error { return u.tidy(ctx, node) })
		if err != nil {
			return err
		}
	}
	return u.equal(ctx, "both trees are equal when what was replaced is removed")
}

// clearCold is clear, which leaves nothing in the cold roots either.
func (u *uploads) clearCold(ctx context.Context, f *Field) error {
	if u.f == nil {
		return nil
	}
	err := u.clear(ctx, f)
	for _, node := range u.pair.Nodes {
		// What the other node has still may be brought over meanwhile: it is in nobody's way.
		err = errors.Join(err, on(ctx, f, node, "sh", "-c", "rm -rf "+rig.ColdPath+"/"+u.dir+" || true"))
	}
	return err
}

// atPhase kills a program on a node when a move is in a phase there.
func atPhase(ctx context.Context, f *Field, node, phase, victim string) error {
	if err := on(ctx, f, node, "perl", "-e", coldPhase, phase, victim, rig.PairPath, rig.ColdPath); err != nil {
		return fmt.Errorf("kill %s on %s while a move is %s: %w", victim, node, phase, err)
	}
	return nil
}

// coldKills are what is killed, and when. What is not at work in a phase cannot be.
var coldKills = []struct{ phase, victim string }{
	{"copying", "rsync"},
	{"copying", "mover"},
	{"copying", "worker"},
	{"copying", "agent"},
	{"copying", "unison"},
	{"placed", "mover"},
	{"placed", "worker"},
	{"placed", "agent"},
	{"replaced", "mover"},
	{"replaced", "worker"},
	{"replaced", "agent"},
	{"replaced", "unison"},
	{"removing", "mover"},
	{"removing", "worker"},
	{"bringing", "rsync"},
	{"bringing", "mover"},
	{"bringing", "worker"},
	{"bringing", "agent"},
}

// filesColdKilled kills each program in each phase of a move, on the nodes in turn, while applications write into what is being moved.
func filesColdKilled(c *Cluster) Drill {
	u := &uploads{pause: "0.05"}
	const each = 3
	return Drill{
		Name: "files/cold-killed", Cluster: c, Traffic: u.begin, Setup: u.prepare,
		Proves: "whatever is killed while old directories are moved, unison, rsync, the mover, the pair's worker or the agent, in each phase of a move: every " +
			"version is on both nodes under its old path, also those that were written meanwhile into what was moved",
		Inject: func(ctx context.Context, f *Field) error {
			for i, kill := range coldKills {
				node, other := u.pair.Nodes[i%2], u.pair.Nodes[1-i%2]
				if err := u.file(ctx, other, each*i, each, 30); err != nil {
					return err
				}
				if err := atPhase(ctx, f, node, kill.phase, kill.victim); err != nil {
					return err
				}
				for n, node := range u.pair.Nodes {
					if err := u.start(ctx, node, "make", day(each*i), fmt.Sprintf("from=%d", 10000*(n+1)), "count=10"); err != nil {
						return err
					}
				}
			}
			return nil
		},
		Settle: func(ctx context.Context, _ *Field) error { return u.settledCold(ctx, u.days(each*len(coldKills))) },
		Heal:   u.clearCold, Verdict: u.nothingLost,
	}
}

// permit tells a node's side what its agent does when nobody has heard of the other node for as long as takeover_hours says, which a drill does not
// wait for.
const permit = `use IO::Socket::UNIX;
my $s = IO::Socket::UNIX->new(Peer => '/run/atoll-pair-` + rig.PairName + `/control.sock') or die "$!\n";
print $s "POST /cold/permit HTTP/1.1\r\nHost: worker.invalid\r\nContent-Length: 0\r\nConnection: close\r\n\r\n";
<$s> =~ / 200 / or die "refused\n"`

// filesColdPowerCut takes the power of the node that leads in the middle of a move: the other one goes on.
func filesColdPowerCut(c *Cluster) Drill {
	u := &uploads{pause: "0.05"}
	const count = 60
	return Drill{
		Name: "files/cold-power-cut-leader", Cluster: c, Traffic: u.begin, Setup: u.prepare,
		Proves: "when the node that leads dies in the middle of a move, the other one moves the rest as soon as it may, and what is written there through the links " +
			"is on both when the first one is back",
		Inject: func(ctx context.Context, f *Field) error {
			if err := u.file(ctx, filesOther, 0, count, 20); err != nil {
				return err
			}
			if err := atPhase(ctx, f, filesOne, "placed", "nobody"); err != nil {
				return err
			}
			return f.Kill(ctx, filesOne)
		},
		Settle: func(ctx context.Context, f *Field) error {
			err := f.Measure(ctx, "the other node has moved the rest", 3*time.Minute, func(ctx context.Context) error {
				if err := on(ctx, f, filesOther, "perl", "-e", permit); err != nil {
					return err
				}
				return u.pair.Moved(ctx, filesOther, u.days(count)...)
			})
			if err != nil {
				return err
			}
			if err := u.start(ctx, filesOther, "make", day(0), "from=10000", "count=50"); err != nil {
				return err
			}
			if err := f.PowerOn(ctx, filesOne); err != nil {
				return err
			}
			return u.settledCold(ctx, u.days(count))
		},
		Heal: u.clearCold, Verdict: u.nothingLost,
	}
}

// What gives the cold root of a node a file system of its own, with room for little more than it holds, and takes it back.
const (
	coldOwnDisk = `set -eu
mv ` + rig.ColdPath + ` /srv/moved
mkdir ` + rig.ColdPath + `
mount -t tmpfs -o "size=$(($(du -sk /srv/moved | cut -f1) + 3000))k" tmpfs ` + rig.ColdPath + `
cp -a /srv/moved/. ` + rig.ColdPath + `
rm -rf /srv/moved`
	coldOffDisk = `set -eu
mountpoint -q ` + rig.ColdPath + ` || exit 0
cp -a ` + rig.ColdPath + ` /srv/moved
umount ` + rig.ColdPath + `
rmdir ` + rig.ColdPath + `
mv /srv/moved ` + rig.ColdPath
)

// filesColdDiskFull has more moved than one of the cold roots has room for.
func filesColdDiskFull(c *Cluster) Drill {
	u := &uploads{pause: "0.1"}
	const count = 5
	return Drill{
		Name: "files/cold-disk-full", Cluster: c, Traffic: u.begin,
		Proves: "old directories for which one cold root has no room stay where they are on both nodes, with a word in the status, while the pair goes on, and are moved as soon as there is room",
		Setup: func(ctx context.Context, f *Field) error {
			if err := moved(ctx, f, coldOwnDisk); err != nil {
				return err
			}
			if err := filesReadyAgain(ctx, f); err != nil {
				return err
			}
			return u.prepare(ctx, f)
		},
		Inject: func(ctx context.Context, _ *Field) error {
			return u.file(ctx, filesOne, 0, count, 50, "size=30000", "sync=0")
		},
		Settle: func(ctx context.Context, f *Field) error {
			if err := filesSaid(ctx, f, "a cold root that is full", "space", "full"); err != nil {
				return err
			}
			pause(ctx, fullLasts)
			took, err := u.carried(ctx)
			if err != nil {
				return err
			}
			f.Found("a change took meanwhile", took)
			for _, node := range u.pair.Nodes {
				if err := u.pair.Moved(ctx, node, u.days(count)...); err == nil {
					return fmt.Errorf("all are moved on %s, which cannot be", node)
				}
			}
			if err := on(ctx, f, filesOther, "mount", "-o", "remount,size=400m", rig.ColdPath); err != nil {
				return err
			}
			return u.settledCold(ctx, u.days(count))
		},
		Heal: func(ctx context.Context, f *Field) error {
			return errors.Join(u.clearCold(ctx, f), moved(ctx, f, coldOffDisk))
		},
		Verdict: u.nothingLost,
	}
}

// filesColdBeingWritten has an application keep a file in an old directory open for long.
func filesColdBeingWritten(c *Cluster) Drill {
	u := &uploads{pause: "0.1"}
	const count = 3
	return Drill{
		Name: "files/cold-being-written", Cluster: c, Traffic: u.begin, Setup: u.prepare,
		Proves: "a directory is not moved while a file in it is open for writing on either node, others are, and it is moved with all that was written when the file is closed",
		Inject: func(ctx context.Context, _ *Field) error {
			for i, node := range u.pair.Nodes {
				if err := u.file(ctx, node, i, 1, 10); err != nil {
					return err
				}
				if err := u.start(ctx, node, "hold", day(i)); err != nil {
					return err
				}
			}
			return u.file(ctx, filesOne, count-1, 1, 10)
		},
		Settle: func(ctx context.Context, f *Field) error {
			all := u.days(count)
			if err := u.moved(ctx, time.Minute, all[count-1:], u.pair.Nodes[0], u.pair.Nodes[1]); err != nil {
				return err
			}
			pause(ctx, 20*time.Second)
			for _, node := range u.pair.Nodes {
				if err := u.pair.NotMoved(ctx, node, all[:count-1]...); err != nil {
					return err
				}
			}
			status, _, err := f.Status(ctx)
			if err != nil {
				return err
			}
			if cold := status.Pairs[rig.PairName].Cold; cold == nil || cold.Waiting == "" {
				return fmt.Errorf("the status does not say what waits: %+v", cold)
			}
			if err := u.quit(); err != nil {
				return err
			}
			return u.settledCold(ctx, all)
		},
		Heal: u.clearCold, Verdict: u.nothingLost,
	}
}

// backlog is how many directories are old when moving them begins, and longestWithout how long changes may take meanwhile.
const (
	backlog        = 500
	longestWithout = 15 * time.Second
)

// filesColdBacklog has hundreds of directories to move at once, as when a pair is told to for the first time.
func filesColdBacklog(c *Cluster) Drill {
	u := &uploads{pause: "0.05"}
	const longest = "the longest that a change took meanwhile"
	return Drill{
		Name: "files/cold-backlog", Cluster: c, Traffic: u.begin, Setup: u.prepare,
		Proves: fmt.Sprintf("while %d directories are moved, what is written elsewhere in the tree goes on to be on the other node, within %s at most", backlog, longestWithout),
		Inject: func(ctx context.Context, _ *Field) error { return u.file(ctx, filesOne, 0, backlog, 5, "sync=0") },
		Settle: func(ctx context.Context, f *Field) error {
			took := time.Duration(0)
			err := f.Measure(ctx, "all are moved", 10*time.Minute, func(ctx context.Context) error {
				one, err := u.carried(ctx)
				if took = max(took, one); err != nil {
					return err
				}
				for _, node := range u.pair.Nodes {
					if err := u.pair.Moved(ctx, node, u.days(backlog)...); err != nil {
						return err
					}
				}
				return nil
			})
			f.Found(longest, took)
			if err != nil {
				return err
			}
			return u.settledCold(ctx, u.days(backlog))
		},
		Heal: u.clearCold,
		Verdict: func(ctx context.Context, f *Field, o Outcome) error {
			if took := o.Found[longest]; took > longestWithout {
				return fmt.Errorf("a change took %s", seconds(took))
			}
			return u.nothingLost(ctx, f, o)
		},
	}
}

// carried makes a change on the node that leads and returns how long it took to the other one.
func (u *uploads) carried(ctx context.Context) (time.Duration, error) {
	u.started++
	name := fmt.Sprintf("%s/carried-%d", u.dir, u.started)
	if _, err := u.pair.Run(ctx, filesOne, "echo >"+name); err != nil {
		return 0, err
	}
	began := time.Now()
	err := u.f.Await(ctx, "a change is on the other node", 5*time.Minute, func(ctx context.Context) error {
		_, err := u.pair.Run(ctx, filesOther, "test -e "+name)
		return err
	})
	return time.Since(began), err
}
