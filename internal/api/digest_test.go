package api_test

import (
	"bytes"
	"context"
	"errors"
	"io/fs"
	"net/http"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/atollhq/terraform-provider-atoll/internal/api"
	"github.com/atollhq/terraform-provider-atoll/internal/replication/digest"
	"github.com/atollhq/terraform-provider-atoll/internal/store"
	"github.com/atollhq/terraform-provider-atoll/internal/trust"
)

// oddPath is no text.
const oddPath = "a b\n\xff&?/ü"

// Digest has a full digest when it is asked for the third time with one ID, and another one at once.
func (b backend) Digest(_ context.Context, pair string, r digest.Request) (digest.Result, error) {
	switch pair {
	case "uploads":
	case "unmounted":
		return digest.Result{}, &api.Error{StatusCode: http.StatusServiceUnavailable, Reason: api.ReasonPairUnavailable, Message: "it is not mounted"}
	default:
		return digest.Result{}, &api.Error{StatusCode: http.StatusNotFound, Reason: api.ReasonNoSuchPair, Message: "this node has no pair " + pair}
	}
	b.f.mu.Lock()
	defer b.f.mu.Unlock()
	if r.Part == digest.Cold {
		return digest.Result{Snapshot: &digest.Snapshot{Sum: digest.Sum{9}}}, nil
	}
	b.f.digests[r.ID]++
	if n := b.f.digests[r.ID]; r.Full && n < 3 {
		return digest.Result{Progress: digest.Progress{Seen: digest.Totals{Files: int64(n)}}}, nil
	}
	return digest.Result{Snapshot: &digest.Snapshot{Sum: digest.Sum{1, 2, 3}, Totals: digest.Totals{Files: 7, Bytes: 9}}}, nil
}

// Directory has a directory of a name that is no text.
func (b backend) Directory(_ context.Context, _ string, part digest.Part, path string) (digest.Directory, error) {
	if part == digest.Cold {
		return digest.Directory{Entries: []digest.Entry{{Name: []byte("2026"), Kind: digest.Folder}}}, nil
	}
	if path != oddPath {
		return digest.Directory{}, &api.Error{StatusCode: http.StatusNotFound, Reason: api.ReasonNoSuchDirectory, Message: "there is no such directory"}
	}
	return digest.Directory{Entries: []digest.Entry{{Name: []byte("\xfe"), Kind: digest.File, Content: digest.Sum{4}}}}, nil
}

func TestDigestOfAPair(t *testing.T) {
	f := newFixture(t)
	endpoint, _ := f.serve("127.0.0.1:0")
	c := f.operator(endpoint)
	for full, want := range map[bool][]int64{false: nil, true: {1, 2}} {
		var seen []int64
		got, err := c.Digest(t.Context(), "uploads", digest.Hot, full, func(p digest.Progress) { seen = append(seen, p.Seen.Files) })
		if err != nil || got.Sum != (digest.Sum{1, 2, 3}) || got.Totals.Bytes != 9 {
			t.Errorf("full %t: got %+v, %v", full, got, err)
		}
		if diff := cmp.Diff(want, seen); diff != "" {
			t.Errorf("full %t: progress (-want +got):\n%s", full, diff)
		}
	}
	directory, err := c.Directory(t.Context(), "uploads", digest.Hot, oddPath)
	if err != nil || len(directory.Entries) != 1 || !bytes.Equal(directory.Entries[0].Name, []byte("\xfe")) || directory.Entries[0].Content != (digest.Sum{4}) {
		t.Errorf("got %+v, %v", directory, err)
	}
	if _, err := c.Directory(t.Context(), "uploads", digest.Hot, "gone"); !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("a directory that is gone: %v", err)
	}
	if s, err := c.Digest(t.Context(), "uploads", digest.Cold, false, nil); err != nil || s.Sum != (digest.Sum{9}) {
		t.Errorf("the cold root: %+v, %v", s, err)
	}
	if d, err := c.Directory(t.Context(), "uploads", digest.Cold, ""); err != nil || len(d.Entries) != 1 || d.Entries[0].Kind != digest.Folder {
		t.Errorf("a directory of the cold root: %+v, %v", d, err)
	}
}

func TestDigestIsRefused(t *testing.T) {
	f := newFixture(t)
	endpoint, _ := f.serve("127.0.0.1:0")
	sg1, proof := f.machine("sg1", time.Now())
	f.store.Merge([]store.Record{store.ProofRecord(proof)})
	node := f.asNode(sg1, proof, endpoint)
	for _, tt := range []struct {
		name   string
		client *api.Client
		pair   string
		reason trust.Reason
	}{
		{"of a pair that is not there", f.operator(endpoint), "photos", api.ReasonNoSuchPair},
		{"of a name that is none", f.operator(endpoint), "../up loads", api.ReasonNoSuchPair},
		{"of a tree that is not there", f.operator(endpoint), "unmounted", api.ReasonPairUnavailable},
		{"by a node", node, "uploads", trust.ReasonNotAllowed},
	} {
		t.Run(tt.name, func(t *testing.T) {
			var refused *api.Error
			if _, err := tt.client.Digest(t.Context(), tt.pair, digest.Hot, true, nil); !errors.As(err, &refused) || refused.Reason != tt.reason {
				t.Errorf("got %v, want reason %s", err, tt.reason)
			}
		})
	}
	var refused *api.Error
	if _, err := node.Directory(t.Context(), "uploads", digest.Hot, ""); !errors.As(err, &refused) || refused.Reason != trust.ReasonNotAllowed {
		t.Errorf("a directory for a node: %v", err)
	}
}
