package provider_test

import (
	"bytes"
	"context"
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"testing"

	emulated "github.com/atollhq/terraform-provider-atoll/internal/lab/cloudflare"
	"github.com/atollhq/terraform-provider-atoll/internal/lab/inproc"
	"github.com/atollhq/terraform-provider-atoll/internal/lab/leak"
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

// firstBoots returns what every machine read at its first boot.
func (r *recorder) firstBoots(t *testing.T) [][]byte {
	t.Helper()
	r.mu.Lock()
	defer r.mu.Unlock()
	var out [][]byte
	for _, userData := range r.data {
		data, _, err := platform.Extract(userData)
		if err != nil {
			t.Fatal(err)
		}
		out = append(out, data)
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
		b.machineNode("hk1", b.ssh.HostKey(), "") + strings.TrimPrefix(linodeNode("sg1", ""), clusterConfig) + served("", hk1, sg1) +
		strings.NewReplacer("atoll_node.a1", "atoll_node.hk1", "atoll_node.b1", "atoll_node.sg1").Replace(uploadsPair(""))
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
	var secrets leak.Secrets
	for name, key := range map[string]string{"the signing key": "ATOLL_SIGNING_KEY", "the SSH key": "ATOLL_SSH_PRIVATE_KEY"} {
		if err := secrets.AddPEM(name, []byte(w.env[key])); err != nil {
			t.Fatal(err)
		}
	}
	secrets.AddText("the cloud's token", token)
	secrets.AddText("the load balancers' token", edgeToken)
	given := seen.firstBoots(t)
	if len(given) == 0 {
		t.Fatal("no machine was given first-boot data")
	}
	for _, data := range given {
		if err := secrets.AddFirstBoot("first-boot data", data); err != nil {
			t.Fatal(err)
		}
	}
	findings, _, err := secrets.Below(dir, func(_ string, info fs.FileInfo) bool { return !info.IsDir() }) // folders hold the provider
	if err != nil {
		t.Fatal(err)
	}
	for _, finding := range findings {
		t.Error(finding)
	}
	for _, must := range []string{"trace.log", "state-copy", "output-c", "saved.tfplan"} {
		if info, err := os.Stat(filepath.Join(dir, must)); err != nil || info.Size() < 1000 {
			t.Errorf("%s was not written, or has next to nothing: %v", must, err)
		}
	}
}

// TestNoTokenLeaks runs the shipped provider under the real program with quick_removal, tracing everything, and looks for the token
// that the nodes get in state, plans, logs and output, and among everything that the nodes have.
func TestNoTokenLeaks(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	work := w.workspace(t)
	config := "terraform {\n  required_providers {\n    atoll = { source = \"atollhq/atoll\" }\n  }\n}\n" +
		"variable \"token\" {\n  type      = string\n  ephemeral = true\n}\n" +
		strings.Replace(crew(removal("", 1)), `api_token = ""`, "api_token = var.token", 1)
	if err := work.Write("main.tf", config); err != nil {
		t.Fatal(err)
	}
	w.edge.Tokens = map[string]emulated.Token{
		removalToken: {Permissions: []string{emulated.MonitorsAndPoolsWrite, emulated.LoadBalancersWrite}},
	}
	work.Env = append(work.Env, "TF_VAR_token="+removalToken, "TF_LOG=trace", "TF_LOG_PATH="+filepath.Join(work.Dir, "trace.log"))
	var secrets leak.Secrets
	secrets.AddText("the nodes' token", removalToken)
	found := func(where, dir string, filter func(string, fs.FileInfo) bool) {
		t.Helper()
		findings, files, err := secrets.Below(dir, filter)
		if err != nil || files == 0 {
			t.Errorf("after %s, %d files below %s: %v", where, files, dir, err)
		}
		for _, finding := range findings {
			t.Errorf("after %s: %s", where, finding)
		}
	}
	plain := func(_ string, info fs.FileInfo) bool { return !info.IsDir() } // folders hold the provider
	for _, args := range [][]string{
		{"init"}, {"plan", "-out=saved.tfplan"}, {"apply", "saved.tfplan"}, {"plan", "-detailed-exitcode"}, {"show", "-json"}, {"destroy", "-auto-approve"},
	} {
		r, err := work.Run(t.Context(), args...)
		if err != nil {
			t.Fatal(err)
		}
		for _, finding := range secrets.In([]byte(r.Output)) {
			t.Errorf("the output of %s: %s", args[0], finding)
		}
		found(args[0], work.Dir, plain)
		if args[0] != "apply" {
			continue
		}
		lb, _, _ := w.held(t, "a1")
		if got := w.opened(t, lb); len(got) != 1 || got[0] != removalToken {
			t.Errorf("the nodes read %q", got)
		}
		found(args[0], w.machines.Dir, func(string, fs.FileInfo) bool { return true })
	}
	if info, err := os.Stat(filepath.Join(work.Dir, "trace.log")); err != nil || info.Size() < 1000 {
		t.Errorf("nothing was traced: %v", err)
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
