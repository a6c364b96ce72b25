package tfstate_test

import (
	"errors"
	"os"
	"path/filepath"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/atollhq/terraform-provider-atoll/internal/cmd/atoll/tfstate"
)

func TestParse(t *testing.T) {
	data, err := os.ReadFile(filepath.Join("testdata", "three-site.json"))
	if err != nil {
		t.Fatal(err)
	}
	got, err := tfstate.Parse(data)
	if err != nil {
		t.Fatal(err)
	}
	want := tfstate.State{
		Clusters: []tfstate.Cluster{{Name: "web", SignedObject: `{"payloadType":"x"}`}},
		Nodes: []tfstate.Node{
			{Cluster: "lab", Name: "one", Endpoints: []string{"192.0.2.1:7443"}},
			{
				Cluster: "web", Name: "hk1", Endpoints: []string{"198.51.100.11:7443", "[2001:db8::11]:7443"},
				Identity: "ed25519:AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA=",
			},
			{Cluster: "web", Name: "sg1"},
		},
	}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("state (-want +got):\n%s", diff)
	}
}

func TestParseRefusesOtherFiles(t *testing.T) {
	tests := []struct {
		name, state string
		want        error
	}{
		{"empty", "", tfstate.ErrNotState},
		{"text", "hello", tfstate.ErrNotState},
		{"other JSON", `{"hello":"world"}`, tfstate.ErrNotState},
		{"a list", `[1]`, tfstate.ErrNotState},
		{"encrypted by OpenTofu", `{"serial":1,"lineage":"x","meta":{},"encrypted_data":"AAAA","encryption_version":"v0"}`, tfstate.ErrEncrypted},
		{"pointer to a remote state", `{"version":3,"backend":{"type":"s3"}}`, tfstate.ErrBackend},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			if _, err := tfstate.Parse([]byte(tt.state)); !errors.Is(err, tt.want) {
				t.Errorf("got error %v, want %v", err, tt.want)
			}
		})
	}
	var version *tfstate.VersionError
	if _, err := tfstate.Parse([]byte(`{"version":3}`)); !errors.As(err, &version) || version.Version != 3 {
		t.Errorf("version 3: got error %v, want a VersionError of 3", err)
	}
	if _, err := tfstate.Parse([]byte(`{"version":4,"resources":[{"mode":"managed","type":"atoll_node","instances":[{"attributes":{}}]}]}`)); err == nil {
		t.Error("a node without a name was accepted")
	}
}
