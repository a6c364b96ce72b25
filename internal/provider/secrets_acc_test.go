package provider_test

import (
	"bytes"
	"context"
	"encoding/base64"
	"encoding/json"
	"encoding/pem"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"testing"

	"github.com/atollhq/terraform-provider-atoll/internal/lab/inproc"
	"github.com/atollhq/terraform-provider-atoll/internal/lab/linode"
	"github.com/atollhq/terraform-provider-atoll/internal/platform"
)

// recorder keeps the first-boot data of every instance.
type recorder struct {
	*inproc.Machines

	mu   sync.Mutex
	data [][]byte
}

// Create implements linode.Machines.
func (r *recorder) Create(ctx context.Context, m linode.Machine) (linode.Addresses, error) {
	r.mu.Lock()
	r.data = append(r.data, bytes.Clone(m.UserData))
	r.mu.Unlock()
	return r.Machines.Create(ctx, m)
}

// ticketKeys returns the secret of every ticket, and each form of the first-boot data that holds one.
func (r *recorder) ticketKeys(t *testing.T) []string {
	t.Helper()
	r.mu.Lock()
	defer r.mu.Unlock()
	var out []string
	for _, userData := range r.data {
		data, _, err := platform.Extract(userData)
		if err != nil {
			t.Fatal(err)
		}
		var payload struct {
			Key string `json:"ticket_key"`
		}
		if err := json.Unmarshal(data, &payload); err != nil || payload.Key == "" {
			t.Fatalf("first-boot data has no ticket key: %v", err)
		}
		out = append(out, payload.Key, base64.StdEncoding.EncodeToString(data), base64.StdEncoding.EncodeToString(userData))
	}
	return out
}

// TestNoSecretLeaks runs the shipped provider under the real program, tracing everything, and looks for every secret of the
// run in state, plans, logs and output.
func TestNoSecretLeaks(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	seen := &recorder{Machines: w.machines}
	w.cloud.Machines = seen
	b := w.newBox(t)
	work := w.workspace(t)
	dir := work.Dir
	config := "terraform {\n  required_providers {\n    atoll = { source = \"atollhq/atoll\" }\n  }\n}\n" +
		b.machineNode("hk1", b.ssh.HostKey(), "") + strings.TrimPrefix(linodeNode("sg1", ""), clusterConfig) + served("", hk1, sg1)
	if err := work.Write("main.tf", config); err != nil {
		t.Fatal(err)
	}
	work.Env = append(work.Env, "TF_LOG=trace", "TF_LOG_PATH="+filepath.Join(dir, "trace.log"))
	for i, args := range [][]string{
		{"init"},
		{"plan", "-out=saved.tfplan"},
		{"show", "-json", "saved.tfplan"},
		{"apply", "saved.tfplan"},
		{"plan", "-detailed-exitcode"},
		{"show", "-json"},
		{"destroy", "-auto-approve"},
	} {
		r, err := work.Run(t.Context(), args...)
		if err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(filepath.Join(dir, "output-"+string(rune('a'+i))), []byte(r.Output), 0o600); err != nil {
			t.Fatal(err)
		}
		if args[0] == "apply" { // destroy empties it
			state, err := os.ReadFile(work.Path("terraform.tfstate"))
			if err != nil {
				t.Fatal(err)
			}
			if err := os.WriteFile(filepath.Join(dir, "state-copy"), state, 0o600); err != nil {
				t.Fatal(err)
			}
		}
	}
	secrets := map[string][]string{
		"signing key": pemLines(t, w.env["ATOLL_SIGNING_KEY"]),
		"SSH key":     pemLines(t, w.env["ATOLL_SSH_PRIVATE_KEY"]),
		"token":       {token, edgeToken},
		"ticket key":  seen.ticketKeys(t),
	}
	files := searched(t, dir)
	for name, data := range files {
		for what, values := range secrets {
			for _, value := range values {
				if bytes.Contains(data, []byte(value)) {
					t.Errorf("%s holds the %s", name, what)
				}
			}
		}
	}
	for _, must := range []string{"trace.log", "state-copy", "output-c"} {
		if len(files[must]) < 1000 {
			t.Errorf("%s has %d bytes only: it was not written", must, len(files[must]))
		}
	}
}

func enginePath(t *testing.T) string {
	t.Helper()
	if path := os.Getenv("TF_ACC_TERRAFORM_PATH"); path != "" {
		return path
	}
	path, err := exec.LookPath("terraform")
	if err != nil {
		t.Fatalf("no terraform on PATH, and TF_ACC_TERRAFORM_PATH is not set: %v", err)
	}
	return path
}

// pemLines returns those lines of a PEM file that say something of the key.
func pemLines(t *testing.T, text string) []string {
	t.Helper()
	block, _ := pem.Decode([]byte(text))
	if block == nil {
		t.Fatal("not PEM")
	}
	var out []string
	for line := range strings.Lines(text) {
		line = strings.TrimSpace(line)
		if len(line) >= 40 && !strings.HasPrefix(line, "-----") && !strings.HasPrefix(line, "b3BlbnNzaC1rZXktdjE") {
			out = append(out, line)
		}
	}
	if len(out) == 0 {
		t.Fatal("the key has no line to look for")
	}
	return out
}

// searched reads the regular files in dir, but for the providers.
func searched(t *testing.T, dir string) map[string][]byte {
	t.Helper()
	entries, err := os.ReadDir(dir)
	if err != nil {
		t.Fatal(err)
	}
	out := map[string][]byte{}
	for _, e := range entries {
		if !e.Type().IsRegular() {
			continue
		}
		data, err := os.ReadFile(filepath.Join(dir, e.Name()))
		if err != nil {
			t.Fatal(err)
		}
		out[e.Name()] = data
	}
	return out
}
