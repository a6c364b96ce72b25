package cli

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"time"

	"github.com/atollhq/terraform-provider-atoll/internal/api"
	"github.com/atollhq/terraform-provider-atoll/internal/replication/snapshot"
)

// room wants room for all snapshots together.
func (u *upgrade) room(ctx context.Context) error {
	bytes, inodes, seen := map[uint64]int64{}, map[uint64]int64{}, map[string]bool{}
	for _, pair := range u.here() {
		tree := u.report.Pairs[pair].Sides[u.state.Node].Path
		if seen[tree] {
			continue // one snapshot is enough for a tree of several pairs
		}
		seen[tree] = true
		result, err := u.snapshot(ctx, pair, snapshot.Check)
		if err != nil {
			return err
		}
		r := result.Room
		if r == nil {
			return fmt.Errorf("pair %s: the agent of %s has not said whether there is room", pair, u.state.Node)
		}
		bytes[r.Device] += r.NeedBytes
		inodes[r.Device] += r.NeedInodes
		if need := bytes[r.Device]; need+r.SpareBytes > r.FreeBytes {
			return fmt.Errorf("pair %s: the snapshots on %s would take %d bytes together with %s and leave %d: there are %d; make room, or change fewer pairs with --pair", pair, u.state.Node, need, r.Dir, r.SpareBytes, r.FreeBytes)
		}
		if need := inodes[r.Device]; r.NeedInodes >= 0 && need+r.SpareInodes > r.FreeInodes {
			return fmt.Errorf("pair %s: the snapshots on %s would take %d inodes together with %s and leave %d: there are %d; make room, or change fewer pairs with --pair", pair, u.state.Node, need, r.Dir, r.SpareInodes, r.FreeInodes)
		}
		u.out.say("pair %s: a snapshot of %s on %s is to be %s, taking %s of %s", pair, files(r.Totals), u.state.Node, r.Method, size(r.NeedBytes), size(r.FreeBytes))
	}
	return nil
}

// snapped returns the pairs to whose snapshots trees are to be put back: all but those that share the tree of one that has a snapshot.
func (u *upgrade) snapped(ctx context.Context) ([]string, error) {
	var have, out []string
	for _, pair := range u.here() {
		result, err := u.snapshot(ctx, pair, snapshot.List)
		if err != nil {
			return nil, err
		}
		if slices.ContainsFunc(result.Snapshots, func(s snapshot.Snapshot) bool { return s.ID == u.state.ID }) {
			have = append(have, pair)
		}
	}
	tree := func(pair string) string { return u.report.Pairs[pair].Sides[u.state.Node].Path }
	for _, pair := range u.here() {
		shares := slices.ContainsFunc(have, func(other string) bool { return tree(other) == tree(pair) })
		if slices.Contains(have, pair) || !shares {
			out = append(out, pair)
		}
	}
	return out, nil
}

// patience is how long an agent, or a pair's programs, may be away while they start again.
const patience = time.Minute

// snapshot has the node of the change do something with the snapshot of a pair. An agent or a program that starts again meanwhile is asked again.
func (u *upgrade) snapshot(ctx context.Context, pair string, action snapshot.Action) (snapshot.Result, error) {
	return u.snapshotOn(ctx, u.state.Node, pair, snapshot.Request{Action: action, ID: u.state.ID})
}

func (u *upgrade) snapshotOn(ctx context.Context, node, pair string, request snapshot.Request) (snapshot.Result, error) {
	client := u.client(node)
	if client == nil {
		return snapshot.Result{}, fmt.Errorf("node %s of pair %s cannot be asked: it is not in the Terraform state, or give its --endpoint, too", node, pair)
	}
	said := ""
	until := time.Now().Add(patience)
	for {
		result, err := client.Snapshot(ctx, pair, request, func(p snapshot.Progress) {
			until = time.Now().Add(patience)
			text := p.Doing + ": " + files(p.Now)
			if p.All.Files > 0 {
				text += " of " + files(p.All)
			}
			if text != said {
				said = text
				u.out.say("pair %s: %s: %s", pair, node, text)
			}
		})
		var refused *api.Error
		again := errors.Is(err, api.ErrUnreachable) || errors.As(err, &refused) && refused.Reason == api.ReasonPairUnavailable
		if err == nil || !again || time.Now().After(until) || ctx.Err() != nil {
			if refused != nil && refused.Reason == api.ReasonSnapshotRefused {
				return result, fmt.Errorf("node %s: %s", node, refused.Message)
			}
			if err != nil {
				err = fmt.Errorf("%s the snapshot of pair %s on %s: %w", request.Action, pair, node, err)
			}
			return result, err
		}
		select {
		case <-ctx.Done():
		case <-time.After(time.Second):
		}
	}
}

// mine tells whether a snapshot belongs to the upgrade that is under way.
func (u *upgrade) mine(id string) bool {
	have, err := u.found()
	return err != nil || have != nil && have.ID == id
}
