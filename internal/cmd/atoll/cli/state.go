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

// chooseCluster returns the cluster that is meant. Without a name there must be exactly one.
func chooseCluster(state tfstate.State, name string) (string, error) {
	var clusters []string
	for _, n := range state.Nodes {
		if !slices.Contains(clusters, n.Cluster) {
			clusters = append(clusters, n.Cluster)
		}
	}
	switch {
	case len(clusters) == 0:
		return "", fmt.Errorf("there is no Terraform state with an atoll_node here: go to the folder of the configuration, name the state with --state, or nodes with --endpoint")
	case name == "" && len(clusters) == 1:
		return clusters[0], nil
	case name == "":
		return "", fmt.Errorf("the Terraform state has the clusters %s: choose one with --cluster", strings.Join(clusters, ", "))
	case !slices.Contains(clusters, name):
		return "", fmt.Errorf("the Terraform state has no node of cluster %q, only of %s", name, strings.Join(clusters, ", "))
	default:
		return name, nil
	}
}
