//go:build linux

package rig

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"os/exec"
	"strconv"

	"github.com/atollhq/terraform-provider-atoll/internal/api"
	"github.com/atollhq/terraform-provider-atoll/internal/spec"
	"github.com/atollhq/terraform-provider-atoll/internal/store"
	"github.com/atollhq/terraform-provider-atoll/internal/trust"
)

// MeshInterface is what the mesh is called on a node.
const MeshInterface = "atoll0"

// MeshAddress asks a node for its address in the mesh.
func (s *Site) MeshAddress(ctx context.Context, node string) (string, error) {
	out, err := s.Exec(ctx, node, "ip", "-4", "-json", "address", "show", "dev", MeshInterface)
	if err != nil {
		return "", err
	}
	var links []struct {
		Addresses []struct {
			Local string `json:"local"`
		} `json:"addr_info"`
	}
	if err := json.Unmarshal(out, &links); err != nil {
		return "", fmt.Errorf("addresses of %s on %s: %w", MeshInterface, node, err)
	}
	if len(links) != 1 || len(links[0].Addresses) != 1 {
		return "", fmt.Errorf("%s on %s has not one address: %s", MeshInterface, node, out)
	}
	return links[0].Addresses[0].Local, nil
}

// Ping sends one echo request over the mesh.
func (s *Site) Ping(ctx context.Context, from, to string) error {
	address, err := s.MeshAddress(ctx, to)
	if err != nil {
		return err
	}
	if _, err := s.Exec(ctx, from, "ping", "-n", "-q", "-c", "1", "-W", "1", address); err != nil {
		return fmt.Errorf("%s does not reach %s over the mesh: %w", from, to, err)
	}
	return nil
}

// PingAll demands that each node reaches each other over the mesh.
func (s *Site) PingAll(ctx context.Context, nodes ...string) error {
	var errs []error
	for _, from := range nodes {
		for _, to := range nodes {
			if from != to {
				errs = append(errs, s.Ping(ctx, from, to))
			}
		}
	}
	return errors.Join(errs...)
}

// Status is what `atoll status --json` says, and whether its exit code calls the cluster healthy.
func (s *Site) Status(ctx context.Context) (status api.ClusterStatus, healthy bool, err error) {
	out, err := s.Atoll(ctx, "status", "--json")
	exit := (*exec.ExitError)(nil)
	if err != nil && (!errors.As(err, &exit) || exit.ExitCode() != 1) {
		return status, false, err
	}
	healthy = err == nil
	if err := json.Unmarshal([]byte(out), &status); err != nil {
		return status, false, fmt.Errorf("atoll status --json: %w\n%s", err, out)
	}
	return status, healthy, nil
}

// Report is what a node of a cluster last said of itself and its peers, as it says itself.
func (s *Site) Report(ctx context.Context, cluster, node string) (spec.Status, error) {
	agent, err := s.Agent(cluster, node)
	if err != nil {
		return spec.Status{}, err
	}
	defer agent.Close()
	records, err := agent.Records(ctx)
	if err != nil {
		return spec.Status{}, err
	}
	known := store.New(trust.Root{Cluster: cluster, Key: s.Key.Public()}, store.Options{})
	known.Merge(records)
	report, ok := known.Snapshot().Statuses[node]
	if !ok {
		return spec.Status{}, fmt.Errorf("%s has not reported anything yet", node)
	}
	return report, nil
}

// Health asks the health endpoint of a machine's agent.
func (s *Site) Health(ctx context.Context, machine string) (api.Health, error) {
	return s.HealthFor(ctx, machine, "")
}

// HealthFor is Health for a hostname that the machine serves.
func (s *Site) HealthFor(ctx context.Context, machine, hostname string) (api.Health, error) {
	var h api.Health
	url := "http://127.0.0.1:" + strconv.Itoa(spec.DefaultPorts().Health) + api.HealthPath
	if hostname != "" {
		url += "/" + hostname
	}
	out, err := s.Exec(ctx, machine, "curl", "-s", "-m", "2", url)
	if err != nil {
		return h, err
	}
	if err := json.Unmarshal(out, &h); err != nil {
		return h, fmt.Errorf("health of %s: %w", machine, err)
	}
	return h, nil
}
