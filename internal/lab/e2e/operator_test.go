//go:build linux

package e2e_test

import (
	"context"
	"encoding/json"
	"fmt"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"time"

	"github.com/atollhq/terraform-provider-atoll/internal/api"
	"github.com/atollhq/terraform-provider-atoll/internal/lab"
	"github.com/atollhq/terraform-provider-atoll/internal/spec"
	"github.com/atollhq/terraform-provider-atoll/internal/store"
	"github.com/atollhq/terraform-provider-atoll/internal/trust"
)

// agent calls a node's agent as the operator, over the public network.
func (s *site) agent(t *testing.T, node string) *api.Client {
	t.Helper()
	client, err := s.Agent(s.cluster(t), node)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(client.Close)
	return client
}

// cluster is the name that the stack gives to its cluster.
func (s *site) cluster(t *testing.T) string {
	t.Helper()
	return s.attribute(t, "atoll_cluster.", "name")
}

// attribute returns an attribute, a string, of the first resource in the state whose address begins with prefix.
func (s *site) attribute(t *testing.T, prefix, name string) string {
	t.Helper()
	r, err := s.Work.RunWith(t.Context(), []string{"TF_LOG="}, "show", "-json")
	if err != nil {
		t.Fatal(err)
	}
	var state struct {
		Values struct {
			Root struct {
				Resources []struct {
					Address string         `json:"address"`
					Values  map[string]any `json:"values"`
				} `json:"resources"`
			} `json:"root_module"`
		} `json:"values"`
	}
	if err := json.Unmarshal([]byte(r.Stdout), &state); err != nil {
		t.Fatal(err)
	}
	for _, resource := range state.Values.Root.Resources {
		if strings.HasPrefix(resource.Address, prefix) {
			if value, ok := resource.Values[name].(string); ok {
				return value
			}
			t.Fatalf("%s has no text in its attribute %s: %v", resource.Address, name, resource.Values[name])
		}
	}
	t.Fatalf("the state has no %s", prefix)
	return ""
}

// address returns the resource address of a node.
func (s *site) address(t *testing.T, node string) string {
	t.Helper()
	r := s.mustRun(t, "state", "list")
	for line := range strings.Lines(r.Stdout) {
		line = strings.TrimSpace(line)
		if strings.HasPrefix(line, "atoll_node.") && strings.HasSuffix(line, fmt.Sprintf("[%q]", node)) {
			return line
		}
	}
	t.Fatalf("the state has no node %q:\n%s", node, r.Stdout)
	return ""
}

// object returns the newest object of a reference that a node has.
func (s *site) object(ctx context.Context, t *testing.T, node string, ref spec.Ref) (spec.Object, error) {
	t.Helper()
	records, err := s.agent(t, node).Records(ctx)
	if err != nil {
		return spec.Object{}, err
	}
	root := trust.Root{Cluster: s.cluster(t), Key: s.Key.Public()}
	for _, r := range records {
		if r.Object == nil {
			continue
		}
		o, err := root.VerifyObject(*r.Object)
		if err != nil {
			return o, err
		}
		if o.Ref() == ref && !o.Deleted {
			return o, nil
		}
	}
	return spec.Object{}, fmt.Errorf("%s has no %s", node, ref)
}

// renew signs the object of a reference again, with a higher generation and otherwise as it is.
func (s *site) renew(t *testing.T, from string, ref spec.Ref) (store.Record, spec.Object) {
	t.Helper()
	o, err := s.object(t.Context(), t, from, ref)
	if err != nil {
		t.Fatal(err)
	}
	return s.resign(t, o)
}

// resign signs an object again, with a higher generation and otherwise as it is.
func (s *site) resign(t *testing.T, o spec.Object) (store.Record, spec.Object) {
	t.Helper()
	now := uint64(time.Now().UnixMilli())
	o.Generation, o.Signed = max(o.Generation+1, now), now
	e, err := trust.SignObject(s.Key, o)
	if err != nil {
		t.Fatal(err)
	}
	return store.ObjectRecord(e), o
}

// instances asks the cloud's API for the instances of the account.
func (s *site) instances(t *testing.T) map[string]int {
	t.Helper()
	var list struct {
		Data []struct {
			ID    int    `json:"id"`
			Label string `json:"label"`
		} `json:"data"`
	}
	if err := json.Unmarshal(s.linode(t, http.MethodGet, "/v4/linode/instances"), &list); err != nil {
		t.Fatal(err)
	}
	out := map[string]int{}
	for _, instance := range list.Data {
		out[instance.Label] = instance.ID
	}
	return out
}

// linode calls the cloud's API as somebody with the account's token would.
func (s *site) linode(t *testing.T, method, path string) []byte {
	t.Helper()
	request := httptest.NewRequestWithContext(t.Context(), method, path, http.NoBody)
	request.Header.Set("Authorization", "Bearer "+s.Variable("LINODE_TOKEN"))
	answer := httptest.NewRecorder()
	s.Cloud().ServeHTTP(answer, request)
	if answer.Code != http.StatusOK {
		t.Fatalf("%s %s: %d %s", method, path, answer.Code, answer.Body)
	}
	return answer.Body.Bytes()
}

// machine describes a machine of the lab, which must be there.
func (s *site) machine(t *testing.T, name string) lab.NodeState {
	t.Helper()
	m, err := s.Node(name)
	if err != nil {
		t.Fatal(err)
	}
	return m
}

// exec runs a command on a machine, which must succeed.
func (s *site) exec(t *testing.T, node string, argv ...string) string {
	t.Helper()
	out, err := s.Exec(t.Context(), node, argv...)
	if err != nil {
		t.Fatalf("%s: %v\n%s", strings.Join(argv, " "), err, out)
	}
	return string(out)
}
