package agent

import (
	"context"

	"github.com/atollhq/terraform-provider-atoll/internal/api"
	"github.com/atollhq/terraform-provider-atoll/internal/spec"
)

// backend is what the API shows of a session.
type backend struct {
	api.StoreBackend
	s *session
}

func newBackend(s *session) backend {
	return backend{s: s, StoreBackend: api.StoreBackend{Store: s.store, Node: s.m.record.Node, Now: s.a.cfg.Now}}
}

// Info implements api.Backend.
func (b backend) Info() api.Info {
	joined := b.s.keeper.get(spec.ConditionJoined)
	return api.Info{
		Cluster: b.s.m.record.Cluster, Node: b.s.m.record.Node, Version: b.s.a.cfg.Version, Wire: spec.WireVersion,
		Identity: b.s.m.identity.Public(), Joined: joined.Good(), Conditions: b.s.keeper.list(), BootID: b.s.a.bootID,
	}
}

// Called implements api.Backend.
func (b backend) Called(node, boot string) { b.s.called(node, boot) }

// CertificateRequest implements api.Certifier.
func (b backend) CertificateRequest(_ context.Context, r api.CertificateRequest) (api.CertificateRequestAnswer, error) {
	request, err := b.s.a.keys.request(r.LoadBalancer, r.Hostnames)
	return api.CertificateRequestAnswer{Request: request}, err
}

// Leave implements api.Backend. It returns when the wish is on its way to the loop, which ends the API after this answer.
func (b backend) Leave(context.Context) error {
	select {
	case b.s.leave <- b.s.departure("the operator told the node to leave"):
	default:
		// It is leaving already.
	}
	return nil
}

// Wake implements api.Backend. Whatever sleeps here watches the store, which a push of news changes.
func (backend) Wake() {}
