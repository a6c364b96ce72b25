package operator_test

import (
	"errors"
	"strings"
	"testing"

	"github.com/atollhq/terraform-provider-atoll/internal/api"
	"github.com/atollhq/terraform-provider-atoll/internal/provider/operator"
	"github.com/atollhq/terraform-provider-atoll/internal/trust"
)

// TestNodeWithoutAddress: a node that nobody can call is called by way of others, and is out of reach when those are.
func TestNodeWithoutAddress(t *testing.T) {
	t.Parallel()
	key, err := trust.NewSigningKey()
	if err != nil {
		t.Fatal(err)
	}
	o := operator.New(operator.Config{SigningKey: func() (*trust.SigningKey, error) { return key, nil }})
	ask := func(wanted string) {
		t.Helper()
		agent, err := o.Agent("web", operator.Peer{Name: "home1"})
		if err != nil {
			t.Fatal(err)
		}
		defer agent.Close()
		if _, err := agent.Info(t.Context()); !errors.Is(err, api.ErrUnreachable) || !strings.Contains(err.Error(), wanted) {
			t.Errorf("%v, want one about %q", err, wanted)
		}
	}
	ask("no other node of the cluster that could pass the call on")
	// Nobody listens at the port of the discard protocol.
	o.Cluster("web").Hear(map[string][]string{"hk1": {"127.0.0.1:9"}, "home2": nil})
	ask(`reach node "home1" by way of`)
}
