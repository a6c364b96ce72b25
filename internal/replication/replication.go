// Package replication is the contract between the agent and the programs that keep a directory tree equal on two nodes, as one
// node runs them. Package replicationtest holds the tests that every driver passes.
//
// The agent itself never touches the trees: a driver keeps, for each pair, one unit that may reach that tree alone.
package replication

import (
	"context"
	"fmt"
	"io"
	"log/slog"
	"time"

	"github.com/atollhq/terraform-provider-atoll/internal/host"
	"github.com/atollhq/terraform-provider-atoll/internal/replication/digest"
	"github.com/atollhq/terraform-provider-atoll/internal/spec"
)

// Driver keeps one node's sides of the pairs that it is given. Its methods may be called from several goroutines.
type Driver interface {
	// Apply makes the node's sides as pairs describe them, and removes what it made for others; the trees themselves are never
	// removed. It may be called many times with the same pairs, and then changes nothing and interrupts nothing; what was broken
	// meanwhile is repaired. What is wrong with one pair keeps no other from being applied.
	Apply(ctx context.Context, pairs []Pair) error
	// Status returns a pair's side as it is now, within a second. One that is not there or does not run is no error.
	Status(ctx context.Context, pair string) (Status, error)
	// Accept connects stream to the pair's side, on the node that does not lead: it is what Pair.Dial opened on the other. It
	// returns when the stream has ended, and closes it.
	Accept(ctx context.Context, pair string, stream io.ReadWriteCloser) error
	// AcceptCold is Accept for what Cold.Dial opened. There may be several at a time.
	AcceptCold(ctx context.Context, pair string, stream io.ReadWriteCloser) error
	// PermitAlone tells the pair's side that the other node is gone for long, by what the cluster knows, so that it may move old directories
	// alone. It has to be told again within a minute.
	PermitAlone(ctx context.Context, pair string) error
	// Turn says whether it is the turn of a pair that alternates with another one to carry changes over, on the node that does not lead. It has to be told
	// again when the pair's programs have started again: until then they rest. It does not wait until that is so (Status.Resting).
	Turn(ctx context.Context, pair string, carry bool) error
	// Canary makes a change to the tree that the other side will see, and returns what it wrote.
	Canary(ctx context.Context, pair string) (Canary, error)
	// Canaries returns the newest canary of the other side as soon as it differs from after.
	Canaries(ctx context.Context, pair string, after Canary) (Canary, error)
	// Digest begins a digest of the tree, or of the cold root, without what is excluded and what the driver itself puts there, or returns how the one with that ID goes;
	// one that nobody asks for any more ends. It returns within some seconds, done or not. While the tree is not to be
	// had as it is it fails with *UnavailableError: one that is not mounted is not empty.
	Digest(ctx context.Context, pair string, r digest.Request) (digest.Result, error)
	// Directory returns one directory of a tree, as digest.Lister does, for a comparison after a digest. It fails like Digest. Whoever asks for one of the
	// cold root waits for that to be equal: what was written there is brought over before its time.
	Directory(ctx context.Context, pair string, part digest.Part, path string) (digest.Directory, error)
}

// UnavailableError is why nothing can be said of a side's tree now.
type UnavailableError struct {
	Pair string
	// Reason is what is wrong, and where it can be told what to do.
	Reason string
}

// Error returns the pair and the reason.
func (e *UnavailableError) Error() string {
	return fmt.Sprintf("the tree of pair %q cannot be looked at: %s", e.Pair, e.Reason)
}

// New makes a driver that works on a host. It does nothing to the host yet.
type New func(host.System, *slog.Logger) Driver

// Pair is one node's side of a pair as it should be.
type Pair struct {
	Name string
	// Node is this node, Peer the other.
	Node, Peer string
	// Leads tells whether this node drives the synchronization.
	Leads bool
	// Path is the tree's root here, PeerPath on the other node.
	Path, PeerPath string
	// Owner and Group are the account that the program runs as.
	Owner, Group string
	// Exclude are the patterns of what stays on its node.
	Exclude []string
	// Alternates tells that the pair takes turns with another one of the same tree on the node that does not lead, which decides (Driver.Turn). Of two such pairs
	// one alone carries changes over. The other one only takes note of what both its sides have alike, so that it knows what has changed when its turn comes.
	Alternates bool
	Limits     spec.PairLimits
	// Dial opens an authenticated stream to the other node's side, where Accept gets it. Only the leader's is used.
	Dial func(context.Context) (io.ReadWriteCloser, error)
	// Cold is how old directories are moved to another root, nil for not at all.
	Cold *Cold
	// After is what runs here after changes of the other node have arrived, as the account that the tree belongs to, nil for nothing.
	After *spec.PairAfter
}

// Cold is how a node's side moves old directories.
type Cold struct {
	spec.PairCold
	// Path is the cold root here.
	Path string
	// Interval takes the place of PairCold's, Settled is how long nothing may have changed in a directory; 0 is the driver's choice.
	Interval, Settled time.Duration
	// Dial opens an authenticated stream to the other node's side, where AcceptCold gets it. Only the leader's is used.
	Dial func(context.Context) (io.ReadWriteCloser, error)
}

// Status is a node's side of a pair as it is.
type Status struct {
	// State is PairStarting until the first synchronization since Started has ended; the side that does not lead cannot tell by itself
	// and says PairSyncing.
	State spec.PairState
	// Started is when the side's programs started that run now, zero while none does.
	Started time.Time
	// Synced is when both sides were last found equal; zero before the first time, and on the side that does not lead where
	// the program tells only the leader.
	Synced time.Time
	// Pending is how many changed paths wait to be looked at.
	Pending int
	// Conflicts are the paths of kept copies of conflicting versions, from the tree's root, sorted.
	Conflicts []string
	// Watching is how changes are noticed, in a word.
	Watching string
	// Changed is when anything but a canary was last seen to change in the tree, zero for never. Round is how long the program is busy with one change, with
	// what it writes down of it afterwards; 0 where that is not known.
	Changed time.Time
	Round   time.Duration
	// Carried is what was exchanged with the other side since Started.
	Carried spec.PairCarried
	// Resting tells that the pair carries nothing over: on the node that does not lead, that it will not until somebody says so, and on the other one, that
	// this was so when the sides reached each other last.
	Resting bool
	// Cold is what is moved to the cold root, nil without one.
	Cold *spec.ColdStatus
	// After is how far the command after changes is, nil without one.
	After *spec.AfterStatus
	// Problem is what is wrong and what to do, "" for nothing. With PairSynced it names what cannot be synchronized, such as files that the
	// account may not read, while everything else is.
	Problem string
	// Warning is what will be wrong, or is bearable, and what to do; "" for nothing.
	Warning string
	// Short tells that some of the changes have no room on one of the sides, as far as this one knows. Full tells that there is hardly any
	// room left for this side.
	Short, Full bool
}

// Canary is a change by which the way of changes from one node to the other is measured.
type Canary struct {
	Nonce string
	// Written is when, by the writer's monotonic clock where it stays in one process.
	Written time.Time
}
