package cli

import (
	"errors"
	"fmt"

	"github.com/spf13/pflag"

	"github.com/atollhq/terraform-provider-atoll/internal/api"
	"github.com/atollhq/terraform-provider-atoll/internal/trust"
)

// nodeFlags say which nodes are to be called: those of a Terraform state, or some by their endpoints.
type nodeFlags struct {
	state     stateFlags
	endpoints []string
	cluster   string
}

func (o *nodeFlags) add(flags *pflag.FlagSet) {
	o.state.add(flags)
	flags.StringArrayVar(&o.endpoints, "endpoint", nil, "`host:port` of a node's API to ask instead of the state's nodes; may be repeated")
	flags.StringVar(&o.cluster, "cluster", "", "the cluster's `name`, needed when the state has several or --endpoint is used")
}

// targets returns the nodes to ask.
func (o *nodeFlags) targets(env Environment) ([]api.Target, error) {
	if len(o.endpoints) > 0 {
		if o.cluster == "" {
			return nil, errors.New("--endpoint says where a node is; --cluster must say of which cluster it has to be")
		}
		var targets []api.Target
		for _, e := range o.endpoints {
			targets = append(targets, api.Target{Cluster: o.cluster, Endpoints: []string{e}})
		}
		return targets, nil
	}
	state, err := o.state.load(env)
	if err != nil {
		return nil, err
	}
	cluster, err := chooseCluster(state, o.cluster)
	if err != nil {
		return nil, err
	}
	var targets []api.Target
	for _, n := range state.Nodes {
		if n.Cluster != cluster || len(n.Endpoints) == 0 {
			continue
		}
		t := api.Target{Cluster: cluster, Node: n.Name, Endpoints: n.Endpoints}
		if n.Identity != "" {
			pin, err := trust.ParsePublicKey(n.Identity)
			if err != nil {
				return nil, fmt.Errorf("the identity of node %q in the Terraform state: %w", n.Name, err)
			}
			t.Pin = &pin
		}
		targets = append(targets, t)
	}
	if len(targets) == 0 {
		return nil, fmt.Errorf("the Terraform state has no node of cluster %q that can be reached: run `terraform apply`, or name a node with --endpoint", cluster)
	}
	return targets, nil
}
