package api_test

import (
	"context"
	"errors"
	"testing"
	"time"

	"github.com/atollhq/terraform-provider-atoll/internal/api"
	"github.com/atollhq/terraform-provider-atoll/internal/replication/place"
	"github.com/atollhq/terraform-provider-atoll/internal/store"
	"github.com/atollhq/terraform-provider-atoll/internal/trust"
)

// Place knows one directory.
func (backend) Place(_ context.Context, path string) (place.Facts, error) {
	if path != "/srv/my files" {
		return place.Facts{}, errors.New("input/output error")
	}
	return place.Facts{Exists: true, FileSystem: "xfs", FreeInodes: -1, Mounts: []string{"a"}}, nil
}

func TestPlace(t *testing.T) {
	f := newFixture(t)
	endpoint, _ := f.serve("127.0.0.1:0")
	sg1, proof := f.machine("sg1", time.Now())
	f.store.Merge([]store.Record{store.ProofRecord(proof)})
	operator, node := f.operator(endpoint), f.asNode(sg1, proof, endpoint)
	got, err := operator.Place(t.Context(), "/srv/my files")
	if err != nil || !got.Exists || got.FileSystem != "xfs" || got.FreeInodes != -1 || len(got.Mounts) != 1 {
		t.Errorf("got %+v, %v", got, err)
	}
	for _, tt := range []struct {
		name   string
		client *api.Client
		path   string
		reason trust.Reason
	}{
		{"by a node", node, "/srv/my files", trust.ReasonNotAllowed},
		{"of what is no tree", operator, "/etc", trust.ReasonMalformed},
		{"of a relative path", operator, "srv", trust.ReasonMalformed},
		{"of what cannot be looked at", operator, "/srv/broken", api.ReasonInternal},
	} {
		t.Run(tt.name, func(t *testing.T) {
			var refused *api.Error
			if _, err := tt.client.Place(t.Context(), tt.path); !errors.As(err, &refused) || refused.Reason != tt.reason {
				t.Errorf("got %v, want reason %s", err, tt.reason)
			}
		})
	}
}
