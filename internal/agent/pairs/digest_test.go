package pairs_test

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"testing"
	"testing/synctest"

	"github.com/atollhq/terraform-provider-atoll/internal/api"
	"github.com/atollhq/terraform-provider-atoll/internal/replication"
	"github.com/atollhq/terraform-provider-atoll/internal/replication/digest"
	"github.com/atollhq/terraform-provider-atoll/internal/trust"
)

// Digest is of a tree that is there once the side has started.
func (f *fakeDriver) Digest(_ context.Context, pair string, r digest.Request) (digest.Result, error) {
	f.mu.Lock()
	defer f.mu.Unlock()
	if f.status.Started.IsZero() {
		return digest.Result{}, &replication.UnavailableError{Pair: pair, Reason: "it is not mounted"}
	}
	return digest.Result{Snapshot: &digest.Snapshot{Totals: digest.Totals{Files: int64(len(r.ID))}}}, nil
}

// Directory knows the root alone.
func (f *fakeDriver) Directory(_ context.Context, _ string, _ digest.Part, path string) (digest.Directory, error) {
	if path != "" {
		return digest.Directory{}, fmt.Errorf("directory %q: %w", path, fs.ErrNotExist)
	}
	return digest.Directory{Totals: digest.Totals{Files: 2}}, nil
}

func TestDigest(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		n := newNode(t, "hk1")
		n.start()
		refused := func(err error, want trust.Reason) {
			t.Helper()
			var refused *api.Error
			if !errors.As(err, &refused) || refused.Reason != want {
				t.Errorf("got %v, want reason %s", err, want)
			}
		}
		_, err := n.manager.Digest(t.Context(), "photos", digest.Request{ID: "x"})
		refused(err, api.ReasonNoSuchPair)
		_, err = n.manager.Directory(t.Context(), "photos", digest.Hot, "")
		refused(err, api.ReasonNoSuchPair)
		_, err = n.manager.Digest(t.Context(), "uploads", digest.Request{ID: "x"})
		refused(err, api.ReasonPairUnavailable)
		_, err = n.manager.Directory(t.Context(), "uploads", digest.Hot, "gone")
		refused(err, api.ReasonNoSuchDirectory)
		if d, err := n.manager.Directory(t.Context(), "uploads", digest.Hot, ""); err != nil || d.Totals.Files != 2 {
			t.Errorf("the root: %+v, %v", d, err)
		}
		n.says(replication.Status{Started: n.manager.All()["uploads"].Since.Add(1)})
		if r, err := n.manager.Digest(t.Context(), "uploads", digest.Request{ID: "12345"}); err != nil || r.Snapshot == nil || r.Snapshot.Totals.Files != 5 {
			t.Errorf("got %+v, %v", r, err)
		}
	})
}
