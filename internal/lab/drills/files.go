//go:build linux

package drills

import (
	"context"
	"fmt"
	"strings"
	"time"

	"github.com/atollhq/terraform-provider-atoll/internal/lab/rig"
)

// The nodes that have the tree: the first leads the pair. The third node of the cluster has no part in it.
const (
	filesOne   = "hk1"
	filesOther = "sg1"
	filesThird = "hk2"
)

// filesDrills are what may happen to a directory tree that two nodes keep equal.
func filesDrills() []Drill {
	c := filesCluster()
	return []Drill{
		filesBothChange(c), filesDeleteChange(c), filesRenameStorm(c), filesClockWrong(c),
		filesCutOff(c),
		filesProgramsKilled(c), filesArchivesLost(c),
		filesPowerCut(c, "power-cut-leader", filesOne), filesPowerCut(c, "power-cut-other", filesOther),
		filesDiskFull(c), filesInodesFull(c), filesNotMounted(c),
		long(filesFlood(c)),
	}
}

// filesCluster is the reference topology with its pair.
func filesCluster() *Cluster {
	return &Cluster{
		Name: "two of three nodes keep a tree", Env: []string{rig.WithPair(filesOne, filesOther)},
		Prepare: func(ctx context.Context, f *Field) error { return f.Apply(ctx) },
		Ready:   filesReady,
	}
}

func filesPair(f *Field) *rig.Pair { return f.Pair(filesOne, filesOther) }

// filesReady returns what keeps the pair from being well, and known to be.
func filesReady(ctx context.Context, f *Field) error {
	if err := filesPair(f).Synced(ctx); err != nil {
		return err
	}
	status, healthy, err := f.Status(ctx)
	if err != nil {
		return err
	}
	if !healthy {
		return fmt.Errorf("atoll status: %s", strings.Join(status.Reasons, "; "))
	}
	_, err = sameTrees(ctx, filesPair(f))
	return err
}

// filesSaid measures until the status says of a side of the pair what an operator has to know.
func filesSaid(ctx context.Context, f *Field, what string, words ...string) error {
	return f.Measure(ctx, "the status says so", time.Minute, func(ctx context.Context) error {
		status, _, err := f.Status(ctx)
		if err != nil {
			return err
		}
		text := strings.Join(status.Reasons, "; ")
		for _, side := range status.Pairs[rig.PairName].Sides {
			text += "; " + side.Problem
		}
		for _, w := range words {
			if strings.Contains(text, w) {
				return nil
			}
		}
		return fmt.Errorf("it says nothing of %s: %s", what, text)
	})
}
