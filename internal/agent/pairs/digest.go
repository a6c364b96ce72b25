package pairs

import (
	"context"
	"errors"
	"io/fs"
	"net/http"

	"github.com/atollhq/terraform-provider-atoll/internal/api"
	"github.com/atollhq/terraform-provider-atoll/internal/replication"
	"github.com/atollhq/terraform-provider-atoll/internal/replication/digest"
)

// Digest implements api.Digester.
func (m *Manager) Digest(ctx context.Context, pair string, r digest.Request) (digest.Result, error) {
	_, driver, err := m.of(pair)
	if err != nil {
		return digest.Result{}, err
	}
	result, err := driver.Digest(ctx, pair, r)
	return result, refusal(err)
}

// Directory implements api.Digester.
func (m *Manager) Directory(ctx context.Context, pair string, part digest.Part, path string) (digest.Directory, error) {
	_, driver, err := m.of(pair)
	if err != nil {
		return digest.Directory{}, err
	}
	directory, err := driver.Directory(ctx, pair, part, path)
	return directory, refusal(err)
}

// refusal is a driver's error as a caller is to have it.
func refusal(err error) error {
	var unavailable *replication.UnavailableError
	switch {
	case errors.As(err, &unavailable):
		return &api.Error{StatusCode: http.StatusServiceUnavailable, Reason: api.ReasonPairUnavailable, Message: unavailable.Error()}
	case errors.Is(err, fs.ErrNotExist):
		return &api.Error{StatusCode: http.StatusNotFound, Reason: api.ReasonNoSuchDirectory, Message: err.Error()}
	}
	return err
}
