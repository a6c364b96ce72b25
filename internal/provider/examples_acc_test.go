package provider_test

import (
	"context"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"

	"github.com/atollhq/terraform-provider-atoll/internal/lab/rig"
)

// build builds the shipped programs once for all tests that need them.
var build = sync.OnceValues(func() (*rig.Programs, error) {
	dir, err := os.MkdirTemp("", "atoll-provider-test-")
	if err != nil {
		return nil, err
	}
	buildDir = dir
	return rig.Build(context.Background(), filepath.Join(dir, "bin"))
})

// buildDir is what TestMain removes.
var buildDir string

func TestMain(m *testing.M) {
	code := m.Run()
	if buildDir != "" {
		_ = os.RemoveAll(buildDir) // a temporary directory, whoever cleans those up will find it
	}
	os.Exit(code)
}

// workspace returns an empty folder in which the real program runs with the shipped provider and this world's environment.
func (w *world) workspace(t *testing.T) *rig.Workspace {
	t.Helper()
	programs, err := build()
	if err != nil {
		t.Fatal(err)
	}
	work, err := rig.NewWorkspace(programs, enginePath(t), t.TempDir(), nil)
	if err != nil {
		t.Fatal(err)
	}
	for name, value := range w.env {
		work.Env = append(work.Env, name+"="+value)
	}
	work.Env = append(work.Env, "SSH_AUTH_SOCK=")
	return work
}

// TestExamples runs every example: what only needs a cloud is applied, planned again and destroyed, the rest is planned.
func TestExamples(t *testing.T) {
	t.Parallel()
	if os.Getenv("TF_ACC") == "" {
		t.Skip("ACCEPTANCE TEST DID NOT RUN: set TF_ACC (make testacc does)")
	}
	examples, err := filepath.Glob(filepath.Join("..", "..", "examples", "*", "*", "*.tf"))
	if err != nil || len(examples) < 5 {
		t.Fatalf("found only the examples %q: %v", examples, err)
	}
	examples = append(examples, filepath.Join("..", "..", "examples", "provider", "provider.tf"))
	folders := map[string]bool{}
	for _, example := range examples {
		folder := filepath.Dir(example)
		if folders[folder] {
			continue
		}
		folders[folder] = true
		t.Run(filepath.Base(folder), func(t *testing.T) {
			t.Parallel()
			w := newWorld(t)
			work := w.workspace(t)
			if err := work.CopyStack(folder); err != nil {
				t.Fatal(err)
			}
			text := allConfig(t, folder)
			work.Env = append(work.Env, "TF_VAR_removal_token="+edgeToken, "TF_VAR_database_password=an example's")
			if strings.Contains(text, "atoll_image") {
				builtImage{work.Path(".build/images")}.build(t, facts("0.1.0"), t.Name())
			}
			if !strings.Contains(text, "required_providers") {
				if err := work.Write("versions.tf", "terraform {\n  required_providers {\n    atoll = { source = \"atollhq/atoll\" }\n  }\n}\n"); err != nil {
					t.Fatal(err)
				}
			}
			if strings.Contains(text, "provider::") {
				// A function's example speaks of the resource's own.
				resources, err := os.ReadFile(filepath.Join("..", "..", "examples", "resources", "atoll_database", "resource.tf"))
				if err == nil {
					err = work.Write("resources.tf", string(resources))
				}
				if err != nil {
					t.Fatal(err)
				}
				if _, err := work.Run(t.Context(), "init"); err != nil {
					t.Fatal(err)
				}
				if _, err := work.Run(t.Context(), "validate"); err != nil {
					t.Fatal(err)
				}
				return
			}
			commands := [][]string{{"init"}, {"validate"}, {"plan", "-var=linode_token=x", "-var=cloudflare_api_token=x"}}
			if !strings.Contains(text, "linode_token") {
				commands[2] = []string{"plan"}
			}
			if !strings.Contains(text, "ssh ") && strings.Contains(text, "resource ") {
				commands = append(commands, []string{"apply", "-auto-approve"}, []string{"plan", "-detailed-exitcode"}, []string{"destroy", "-auto-approve"})
			}
			for _, args := range commands {
				if _, err := work.Run(t.Context(), args...); err != nil {
					t.Fatal(err)
				}
			}
			if left := w.instances(t); len(left) != 0 {
				t.Errorf("instances are left: %v", left)
			}
			w.edge.demandEmpty(t)
		})
	}
}

func allConfig(t *testing.T, folder string) string {
	t.Helper()
	files, err := filepath.Glob(filepath.Join(folder, "*.tf"))
	if err != nil {
		t.Fatal(err)
	}
	var b strings.Builder
	for _, file := range files {
		text, err := os.ReadFile(file)
		if err != nil {
			t.Fatal(err)
		}
		b.Write(text)
	}
	return b.String()
}
