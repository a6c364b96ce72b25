package cli

import (
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"slices"
	"strings"

	"github.com/spf13/pflag"

	"github.com/atollhq/terraform-provider-atoll/internal/cmd/atoll/tfstate"
)

// defaultState is where Terraform keeps the state of the working directory that it is run in.
const defaultState = "terraform.tfstate"

// stateFlags say where the Terraform state is.
type stateFlags struct{ path string }

func (f *stateFlags) add(flags *pflag.FlagSet) {
	flags.StringVar(&f.path, "state", "", "the Terraform state `file` that knows the nodes, - for standard input (default ./"+defaultState+")")
}

// load returns what the state holds. Without --state and without a state in the working directory that is nothing.
func (f *stateFlags) load(env Environment) (tfstate.State, error) {
	path := f.path
	if path == "" {
		path = defaultState
	}
	data, err := read(env, path)
	if f.path == "" && errors.Is(err, fs.ErrNotExist) {
		return tfstate.State{}, nil
	}
	if err != nil {
		return tfstate.State{}, fmt.Errorf("read the Terraform state: %w", err)
	}
	state, err := tfstate.Parse(data)
	if err != nil {
		return tfstate.State{}, fmt.Errorf("read the Terraform state %s: %w", path, err)
	}
	return state, nil
}

func read(env Environment, path string) ([]byte, error) {
	if path == "-" {
		return io.ReadAll(env.Stdin)
	}
	return os.ReadFile(path)
}

// ofCluster returns the cluster that is meant and its nodes. Without a name there must be only one cluster.
func ofCluster(nodes []tfstate.Node, name string) (string, []tfstate.Node, error) {
	var clusters []string
	for _, node := range nodes {
		if !slices.Contains(clusters, node.Cluster) {
			clusters = append(clusters, node.Cluster)
		}
	}
	if name == "" && len(clusters) > 1 {
		return "", nil, fmt.Errorf("the state has several clusters (%s): choose one with --cluster", strings.Join(clusters, ", "))
	}
	if name == "" && len(clusters) == 1 {
		name = clusters[0]
	}
	var out []tfstate.Node
	for _, node := range nodes {
		if node.Cluster == name {
			out = append(out, node)
		}
	}
	if len(out) == 0 && len(nodes) > 0 {
		return "", nil, fmt.Errorf("the state has no node of cluster %q, only of %s", name, strings.Join(clusters, ", "))
	}
	return name, out, nil
}
