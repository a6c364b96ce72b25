package cli

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/atollhq/terraform-provider-atoll/internal/api"
	"github.com/atollhq/terraform-provider-atoll/internal/store"
	"github.com/atollhq/terraform-provider-atoll/internal/topology"
	"github.com/atollhq/terraform-provider-atoll/internal/trust"
)

// askObjects asks all targets at once for the objects of their cluster and returns what they hold together, each object in its
// newest form, and why some targets did not answer. Objects that the operator has not signed do not count, whoever sends them.
// It fails when no target answers, or when none knows the cluster's own object.
func askObjects(ctx context.Context, env Environment, key *trust.SigningKey, targets []api.Target, timeout time.Duration) (topology.Input, map[string]string, error) {
	type answer struct {
		target  api.Target
		records []store.Record
		err     error
	}
	ctx, cancel := context.WithTimeout(ctx, timeout)
	defer cancel()
	answers := make(chan answer)
	for _, target := range targets {
		go func() {
			client := api.NewOperatorClient(key, target)
			defer client.Close()
			records, err := client.Records(ctx)
			answers <- answer{target, records, err}
		}()
	}
	all := store.New(trust.Root{Cluster: targets[0].Cluster, Key: key.Public()}, store.Options{Now: env.Now})
	unanswered := map[string]string{}
	var errs []error
	for range targets {
		a := <-answers
		if a.err != nil {
			unanswered[name(a.target)] = a.err.Error()
			errs = append(errs, a.err)
			continue
		}
		var objects []store.Record
		for _, r := range a.records {
			if r.Object != nil {
				objects = append(objects, r)
			}
		}
		all.Merge(objects)
	}
	if len(errs) == len(targets) {
		return topology.Input{}, nil, fmt.Errorf("no node of the cluster could be asked:\n%w", errors.Join(errs...))
	}
	s := all.Snapshot()
	if s.Cluster == nil {
		return topology.Input{}, nil, fmt.Errorf("the nodes that answer do not have the description of cluster %q yet: run `terraform apply`", s.ClusterName)
	}
	return topology.Input{
		ClusterName: s.ClusterName, Cluster: *s.Cluster, Nodes: s.Nodes, Links: s.Links, LoadBalancers: s.LoadBalancers, Maintenance: s.Maintenance,
		Databases: s.Databases, DatabaseMembers: s.DatabaseMembers, Recoveries: s.Recoveries, Pairs: s.Pairs,
	}, unanswered, nil
}
