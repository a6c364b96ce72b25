// Package tfstate reads from a Terraform or OpenTofu state which clusters it has and where their nodes are. It only looks
// at what Atoll's own resources keep there, all of it public.
package tfstate

import (
	"cmp"
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"strings"
)

// Version is the version of the state format that this package reads. Terraform has written it since 0.12.
const Version = 4

// State is what a state holds of Atoll's, sorted by cluster and name.
type State struct {
	Clusters []Cluster
	Nodes    []Node
}

// Cluster is one atoll_cluster of a state.
type Cluster struct {
	Name string `json:"name"`
	// SignedObject is the cluster object in its signed form, an envelope in JSON. It is not verified here.
	SignedObject string `json:"signed_object"`
}

// Node is one atoll_node of a state.
type Node struct {
	Cluster string `json:"cluster"`
	Name    string `json:"name"`
	// Endpoints are host:port of the node's API, best first. Empty for a node that is not made yet.
	Endpoints []string `json:"endpoints"`
	// Identity is the node's identity key as it was pinned at the join; empty before.
	Identity string `json:"identity"`
}

// The states that hold what is asked for, but not in a form that this package can read.
var (
	// ErrEncrypted is returned for a state that OpenTofu encrypted.
	ErrEncrypted = errors.New("the state is encrypted: write it in the clear with `tofu state pull > FILE`, name that with " +
		"--state FILE and delete it afterwards, or pipe it to --state -")
	// ErrBackend is returned for the file in which a working directory keeps where its state is.
	ErrBackend = errors.New("this file says where the state is and does not hold it: write the state with " +
		"`terraform state pull > FILE` and name that with --state FILE, or pipe it to --state -")
	// ErrNotState is returned for what is no state at all.
	ErrNotState = errors.New("this is no Terraform state: --state wants a terraform.tfstate, or what `terraform state pull` prints")
)

// VersionError says that a state has a version which this package does not know.
type VersionError struct{ Version int }

// Error names both versions.
func (e *VersionError) Error() string {
	return fmt.Sprintf("the state has format version %d and this program reads version %d: run `terraform apply -refresh-only` "+
		"with a Terraform of today, or name nodes with --endpoint", e.Version, Version)
}

// file is the part of a state file that is read here.
type file struct {
	Version       int             `json:"version"`
	EncryptedData json.RawMessage `json:"encrypted_data"`
	Backend       json.RawMessage `json:"backend"`
	Resources     []struct {
		Mode      string `json:"mode"`
		Type      string `json:"type"`
		Instances []struct {
			// Deposed is set for an object that a replacement has taken the place of.
			Deposed    string          `json:"deposed"`
			Attributes json.RawMessage `json:"attributes"`
		} `json:"instances"`
	} `json:"resources"`
}

// Parse reads a state.
func Parse(data []byte) (State, error) {
	var f file
	if err := json.Unmarshal(data, &f); err != nil {
		return State{}, ErrNotState
	}
	switch {
	case f.EncryptedData != nil:
		return State{}, ErrEncrypted
	case f.Backend != nil:
		return State{}, ErrBackend
	case f.Version == 0:
		return State{}, ErrNotState
	case f.Version != Version:
		return State{}, &VersionError{Version: f.Version}
	}
	var s State
	for _, resource := range f.Resources {
		for _, instance := range resource.Instances {
			if resource.Mode != "managed" || instance.Deposed != "" {
				continue
			}
			if err := s.add(resource.Type, instance.Attributes); err != nil {
				return State{}, fmt.Errorf("read an %s of the state: %w", resource.Type, err)
			}
		}
	}
	slices.SortFunc(s.Clusters, func(a, b Cluster) int { return strings.Compare(a.Name, b.Name) })
	slices.SortFunc(s.Nodes, func(a, b Node) int {
		return cmp.Or(strings.Compare(a.Cluster, b.Cluster), strings.Compare(a.Name, b.Name))
	})
	return s, nil
}

func (s *State) add(kind string, attributes json.RawMessage) error {
	switch kind {
	case "atoll_cluster":
		var c Cluster
		if err := json.Unmarshal(attributes, &c); err != nil {
			return err
		}
		s.Clusters = append(s.Clusters, c)
	case "atoll_node":
		n, err := readNode(attributes)
		if err != nil {
			return err
		}
		s.Nodes = append(s.Nodes, n)
	}
	return nil
}

// readNode reads an instance's attributes. The resource takes its cluster as an object, of which the name is wanted here.
func readNode(attributes json.RawMessage) (Node, error) {
	var a struct {
		Node
		Cluster struct {
			Name string `json:"name"`
		} `json:"cluster"`
	}
	if err := json.Unmarshal(attributes, &a); err != nil {
		return Node{}, err
	}
	a.Node.Cluster = a.Cluster.Name
	if a.Name == "" || a.Node.Cluster == "" {
		return Node{}, errors.New("it lacks its name or its cluster's")
	}
	return a.Node, nil
}
