package agent

import (
	"context"
	"log/slog"
	"net/http"
	"time"

	"github.com/atollhq/terraform-provider-atoll/internal/clustermap"
	"github.com/atollhq/terraform-provider-atoll/internal/clustermap/livepage"
)

// mapStep serves the live map on the mesh address, where the cluster names a port for it.
type mapStep struct {
	s *session
}

func (mapStep) name() string { return "map" }

func (m mapStep) reconcile(ctx context.Context, in input) error {
	port := m.s.ports(in.snapshot.Cluster).Map
	switch {
	case port == 0:
		return m.s.livePage.close()
	case in.view == nil || !in.admitted:
		return nil
	default:
		return m.s.livePage.listen(ctx, m.s.a.cfg.MeshBind(in.view.Self.MeshAddress).String(), port)
	}
}

// newLivePage returns a server of the map as this node sees it.
func (s *session) newLivePage() *http.Server {
	return &http.Server{
		Handler: livepage.New(livepage.Options{Log: s.log, Source: func(context.Context) (clustermap.Map, error) {
			return clustermap.New(newBackend(s).Status()), nil
		}}),
		ReadHeaderTimeout: 2 * time.Second,
		WriteTimeout:      10 * time.Second,
		IdleTimeout:       10 * time.Second,
		MaxHeaderBytes:    8 << 10,
		ErrorLog:          slog.NewLogLogger(s.log.Handler(), slog.LevelDebug),
	}
}
