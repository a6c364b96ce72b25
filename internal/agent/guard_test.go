package agent_test

import (
	"errors"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/atollhq/terraform-provider-atoll/internal/agent"
	"github.com/atollhq/terraform-provider-atoll/internal/host"
	"github.com/atollhq/terraform-provider-atoll/internal/host/hosttest"
	"github.com/atollhq/terraform-provider-atoll/internal/platform"
)

// onPlatform returns a machine of a platform, "" for none.
func onPlatform(t *testing.T, name string) platform.Machine {
	t.Helper()
	root := t.TempDir()
	if name != "" {
		if err := os.MkdirAll(filepath.Join(root, "etc/atoll"), 0o755); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(filepath.Join(root, "etc/atoll/platform"), []byte(name), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	return platform.Machine{Root: root}
}

func TestMetadataGuard(t *testing.T) {
	missing := &host.CommandError{Command: "nft", ExitCode: 1, Err: errors.New("no such table")}
	absent := &host.CommandError{Command: "nft", ExitCode: -1, Err: errors.New("not found")}
	tests := []struct {
		name, platform string
		have           string
		err            error
		want           []string
		fails          bool
	}{
		{"made", "linode", "", missing, []string{"nft -f -"}, false},
		{"already there", "linode", strings.ReplaceAll(agent.GuardRules, "\t", "  "), nil, nil, false},
		{"changed by somebody", "linode", "table inet atoll_guard {\n}\n", nil, []string{"nft -f -"}, false},
		{"no nft", "linode", "", absent, nil, true},
		{"not wanted here", "", "", missing, nil, false},
		{"not wanted any more", "", agent.GuardRules, nil, []string{"nft delete table inet atoll_guard"}, false},
		{"no nft where none is needed", "", "", absent, nil, false},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			h := hosttest.New()
			h.Handle("nft", func(c host.Command) (host.Output, error) {
				if c.ReadOnly {
					return host.Output{Stdout: []byte(tt.have)}, tt.err
				}
				return host.Output{}, nil
			})
			err := agent.ReconcileGuard(t.Context(), h, onPlatform(t, tt.platform))
			if (err != nil) != tt.fails {
				t.Errorf("got error %v, want one: %v", err, tt.fails)
			}
			var want strings.Builder
			for _, c := range tt.want {
				want.WriteString("run " + c + "\n")
			}
			if got := h.Text(); got != want.String() {
				t.Errorf("got %q, want %q", got, want.String())
			}
		})
	}
}
