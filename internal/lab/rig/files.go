//go:build linux

package rig

import (
	"context"
	"fmt"
	"slices"
	"strconv"
	"strings"

	"github.com/google/go-cmp/cmp"

	"github.com/atollhq/terraform-provider-atoll/internal/spec"
)

// The reference topology's pair.
const (
	// PairName is its name, PairPath its tree on both nodes, PairOwner the account that the tree belongs to.
	PairName  = "uploads"
	PairPath  = "/srv/uploads"
	PairOwner = "www-data"
	// ColdPath is where old directories go on both nodes, ColdPattern which ones these are: in each folder those that are named by a date.
	ColdPath    = "/srv/archive"
	ColdPattern = "*/YYYY/MM/DD"
)

// WithPair makes the reference topology make its pair, of these two nodes.
func WithPair(one, other string) string {
	return fmt.Sprintf(`TF_VAR_files={ %s = { path = %q, nodes = [%q, %q], owner = %q } }`, PairName, PairPath, one, other, PairOwner)
}

// WithColdPair is WithPair for a pair that moves old directories.
func WithColdPair(one, other string) string {
	return fmt.Sprintf(`TF_VAR_files={ %s = { path = %q, nodes = [%q, %q], owner = %q, cold = { path = %q, pattern = %q } } }`,
		PairName, PairPath, one, other, PairOwner, ColdPath, ColdPattern)
}

// WithPairAfter is WithPair for a pair whose nodes run a command after changes. Its words have no dollar sign.
func WithPairAfter(one, other string, command ...string) string {
	words := make([]string, len(command))
	for i, word := range command {
		words[i] = strconv.Quote(word)
	}
	return fmt.Sprintf(`TF_VAR_files={ %s = { path = %q, nodes = [%q, %q], owner = %q, after_change = { command = [%s], timeout_seconds = 60 } } }`,
		PairName, PairPath, one, other, PairOwner, strings.Join(words, ", "))
}

// The pairs of a star of the reference topology, all with the pair's tree: PairName joins the centre and the leaf, TrunkName the centre and its backup, and
// StandbyName the backup and the leaf.
const (
	TrunkName   = PairName + "-trunk"
	StandbyName = PairName + "-standby"
)

// WithStar makes the reference topology make a star of three nodes, whose backup takes over when the centre has been dead for so many seconds.
func WithStar(centre, backup, leaf string, after int) string {
	pair := func(name, one, other, more string) string {
		return fmt.Sprintf("%s = { path = %q, nodes = [%q, %q], owner = %q, leader = %q%s }", name, PairPath, one, other, PairOwner, one, more)
	}
	return "TF_VAR_files={ " + strings.Join([]string{
		pair(PairName, centre, leaf, ""), pair(TrunkName, centre, backup, ""), pair(StandbyName, backup, leaf, fmt.Sprintf(", standby_for = %q, standby_after_seconds = %d", centre, after)),
	}, ", ") + " }"
}

// Pair is the reference topology's pair as the application on its nodes has it.
type Pair struct {
	site *Site
	// Nodes are the two.
	Nodes [2]string
}

// Pair returns the pair of the two nodes. It need not be there yet.
func (s *Site) Pair(one, other string) *Pair { return &Pair{site: s, Nodes: [2]string{one, other}} }

// Unit is the service that keeps the pair on each of its nodes.
func (*Pair) Unit() string { return "atoll-pair-" + PairName + ".service" }

// Run runs a shell's commands in the tree on a node, as its owner, and returns their output.
func (p *Pair) Run(ctx context.Context, node, commands string) (string, error) {
	out, err := p.site.Exec(ctx, node, "runuser", "-u", PairOwner, "--", "sh", "-euc", "cd "+PairPath+"; "+commands)
	return string(out), err
}

// Listing returns a line for everything in the tree on a node that the application made, by tools that have no part in keeping the
// pair: names, types, modes, owners, targets and contents. Of a pair that moves old directories it is what the tree holds, and then what an
// application finds in it.
func (p *Pair) Listing(ctx context.Context, node string) (string, error) {
	const list = `ours='-path ./.atoll -o -path ./.atoll-canary -o -path ./.atoll-cold'
find . -mindepth 1 \( $ours \) -prune -o -printf '%P: %y %m %u %g %l\n' | LC_ALL=C sort
find . \( $ours \) -prune -o -type f -print0 | LC_ALL=C sort -z | xargs -0 -r sha256sum --
if test -e .atoll-cold/root; then
	echo 'Through the links:'
	find -L . -mindepth 1 \( $ours \) -prune -o -printf '%P: %y %m %u %g %l\n' | LC_ALL=C sort
	find -L . \( $ours \) -prune -o -type f -print0 | LC_ALL=C sort -z | xargs -0 -r sha256sum --
fi`
	out, err := p.site.Exec(ctx, node, "sh", "-euc", "cd "+PairPath+"; "+list)
	return string(out), err
}

// Unfinished tells whether a line of a listing is of what unison has begun and given up, under a name of its own: it is removed some time later.
func Unfinished(line string) bool {
	return strings.Contains(line, ".unison.") && strings.Contains(line, ".unison.tmp")
}

// Equal returns an error that says where both trees differ, unless what applications made in them is the same.
func (p *Pair) Equal(ctx context.Context) error {
	var listings [2][]string
	for i, node := range p.Nodes {
		text, err := p.Listing(ctx, node)
		if err != nil {
			return err
		}
		listings[i] = slices.DeleteFunc(strings.Split(text, "\n"), Unfinished)
	}
	if diff := cmp.Diff(listings[0], listings[1]); diff != "" {
		return fmt.Errorf("%s is not the same on %s:\n%s", PairPath, strings.Join(p.Nodes[:], " (-) and on ")+" (+)", diff)
	}
	return nil
}

// Synced returns an error unless the cluster's status says that both sides are equal.
func (p *Pair) Synced(ctx context.Context) error {
	status, _, err := p.site.Status(ctx)
	if err != nil {
		return err
	}
	if v, ok := status.Pairs[PairName]; !ok || v.State != spec.PairSynced {
		return fmt.Errorf("pair %s is %q: %v", PairName, v.State, status.Reasons)
	}
	return nil
}
