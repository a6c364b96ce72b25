package cli_test

import (
	"bytes"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/atollhq/terraform-provider-atoll/internal/cmd/atoll/cli"
	"github.com/atollhq/terraform-provider-atoll/internal/platform"
	"github.com/atollhq/terraform-provider-atoll/internal/spec"
	"github.com/atollhq/terraform-provider-atoll/internal/trust"
)

// now is the operator's clock in tests.
var now = time.Date(2026, 3, 14, 15, 9, 26, 0, time.UTC)

// result is what a run of the program leaves.
type result struct {
	code           int
	stdout, stderr string
}

// operator runs the program in a working directory of its own.
type operator struct {
	dir   string
	env   map[string]string
	stdin string
}

func newOperator(t *testing.T) *operator {
	t.Helper()
	dir := t.TempDir()
	t.Chdir(dir)
	return &operator{dir: dir, env: map[string]string{}}
}

func (o *operator) run(t *testing.T, args ...string) result {
	t.Helper()
	var stdout, stderr bytes.Buffer
	code := cli.Run(t.Context(), cli.Environment{
		Args: args, Stdin: strings.NewReader(o.stdin), Stdout: &stdout, Stderr: &stderr,
		Getenv:  func(name string) string { return o.env[name] },
		Version: "1.2.3", Now: func() time.Time { return now },
	})
	return result{code, stdout.String(), stderr.String()}
}

// must runs the program and expects it to do what was asked.
func (o *operator) must(t *testing.T, args ...string) result {
	t.Helper()
	r := o.run(t, args...)
	if r.code != cli.Healthy {
		t.Fatalf("atoll %s: exit code %d: %s", strings.Join(args, " "), r.code, r.stderr)
	}
	return r
}

// withKey makes a signing key and lets the environment name it.
func (o *operator) withKey(t *testing.T) *trust.SigningKey {
	t.Helper()
	file := filepath.Join(o.dir, "key.pem")
	o.must(t, "key", "new", "--out", file)
	o.env[trust.EnvSigningKeyFile] = file
	key, err := trust.SigningKeyFromEnvironment(func(name string) string { return o.env[name] })
	if err != nil {
		t.Fatal(err)
	}
	return key
}

func write(t *testing.T, name, text string) {
	t.Helper()
	if err := os.WriteFile(name, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
}

func TestKeyNew(t *testing.T) {
	o := newOperator(t)
	made := o.must(t, "key", "new", "--out", "key.pem")
	info, err := os.Stat("key.pem")
	if err != nil {
		t.Fatal(err)
	}
	if got, want := info.Mode().Perm(), os.FileMode(0o600); got != want {
		t.Errorf("the key's file has mode %v, want %v", got, want)
	}
	pem, err := os.ReadFile("key.pem")
	if err != nil {
		t.Fatal(err)
	}
	key, err := trust.ParseSigningKey(pem)
	if err != nil {
		t.Fatal(err)
	}
	if got, want := made.stdout, key.Public().String()+"\n"; got != want {
		t.Errorf("printed %q, want the public key %q", got, want)
	}

	again := o.run(t, "key", "new", "--out", "key.pem")
	if again.code != cli.Failed || !strings.Contains(again.stderr, "key.pem exists already") {
		t.Errorf("a second key in the same file: exit code %d, %q", again.code, again.stderr)
	}
	if after, err := os.ReadFile("key.pem"); err != nil || !bytes.Equal(after, pem) {
		t.Errorf("the key that was there has been changed (%v)", err)
	}
}

func TestKeyShow(t *testing.T) {
	o := newOperator(t)
	if r := o.run(t, "key", "show"); r.code != cli.Failed || !strings.Contains(r.stderr, trust.EnvSigningKeyFile) {
		t.Errorf("without a key: exit code %d, %q, want an error that names %s", r.code, r.stderr, trust.EnvSigningKeyFile)
	}
	public := o.withKey(t).Public()
	want := public.String() + "\n" + public.Fingerprint() + "\n"
	for _, args := range [][]string{{"key", "show"}, {"key", "show", "key.pem"}} {
		if r := o.must(t, args...); r.stdout != want || r.stderr != "" {
			t.Errorf("atoll %s printed %q and %q, want %q", strings.Join(args, " "), r.stdout, r.stderr, want)
		}
	}
	write(t, "broken.pem", "-----BEGIN PRIVATE KEY-----\nc2VjcmV0\n-----END PRIVATE KEY-----\n")
	if r := o.run(t, "key", "show", "broken.pem"); r.code != cli.Failed || strings.Contains(r.stderr, "c2VjcmV0") {
		t.Errorf("a broken key: exit code %d, %q", r.code, r.stderr)
	}
}

func TestTicketNew(t *testing.T) {
	o := newOperator(t)
	key := o.withKey(t)
	root := trust.Root{Cluster: "web", Key: key.Public()}
	write(t, "terraform.tfstate", stateOf(t, key))

	o.must(t, "ticket", "new", "--cluster", "web", "--node", "hk2", "--seed", "192.0.2.9:7443", "--lifetime", "30m")
	info, err := os.Stat("hk2.first-boot.json")
	if err != nil {
		t.Fatal(err)
	}
	if got, want := info.Mode().Perm(), os.FileMode(0o600); got != want {
		t.Errorf("the first-boot data has mode %v, want %v", got, want)
	}
	data, err := os.ReadFile("hk2.first-boot.json")
	if err != nil {
		t.Fatal(err)
	}
	payload, err := platform.ParsePayload(data)
	if err != nil {
		t.Fatal(err)
	}
	ticket, err := root.VerifyTicket(payload.Ticket)
	if err != nil {
		t.Fatal(err)
	}
	if got, want := ticket.Expires, now.Add(30*time.Minute); !got.Equal(want) {
		t.Errorf("expires %v, want %v", got, want)
	}
	if got, want := strings.Join(ticket.Seeds, " "), "192.0.2.9:7443 198.51.100.11:7443"; got != want {
		t.Errorf("seeds %q, want %q: --seed and every other node of the cluster", got, want)
	}
	if len(payload.Objects) != 1 {
		t.Fatalf("%d objects, want the cluster's", len(payload.Objects))
	}
	if o, err := root.VerifyObject(payload.Objects[0]); err != nil || o.Kind != spec.KindCluster {
		t.Errorf("object %v (%v), want the cluster's", o.Ref(), err)
	}

	printed := o.must(t, "ticket", "new", "--cluster", "web", "--node", "hk2", "--out", "-")
	if _, err := platform.ParsePayload([]byte(printed.stdout)); err != nil {
		t.Errorf("--out - printed no payload: %v", err)
	}
}

func TestTicketNewRefuses(t *testing.T) {
	o := newOperator(t)
	if r := o.run(t, "ticket", "new", "--cluster", "web", "--node", "hk2"); r.code != cli.Failed || !strings.Contains(r.stderr, "no signing key") {
		t.Errorf("without a signing key: exit code %d, %q", r.code, r.stderr)
	}
	o.withKey(t)
	other, err := trust.NewSigningKey()
	if err != nil {
		t.Fatal(err)
	}
	write(t, "foreign.tfstate", stateOf(t, other))
	tests := []struct {
		name string
		args []string
		want string
	}{
		{"no node", []string{"--cluster", "web"}, `"node" not set`},
		{"bad name", []string{"--cluster", "web", "--node", "No Name"}, "node"},
		{"bad seed", []string{"--cluster", "web", "--node", "hk2", "--seed", "nowhere"}, "seeds"},
		{"endless", []string{"--cluster", "web", "--node", "hk2", "--lifetime", "10000h"}, "lifetime"},
		{"another key's cluster", []string{"--cluster", "web", "--node", "hk2", "--state", "foreign.tfstate"}, "does not sign for"},
		{"no such state", []string{"--cluster", "web", "--node", "hk2", "--state", "none.tfstate"}, "none.tfstate"},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			r := o.run(t, append([]string{"ticket", "new"}, tt.args...)...)
			if r.code != cli.Failed || !strings.Contains(r.stderr, tt.want) {
				t.Errorf("exit code %d, %q, want an error with %q", r.code, r.stderr, tt.want)
			}
			if _, err := os.Stat("hk2.first-boot.json"); err == nil {
				t.Error("first-boot data was written all the same")
			}
		})
	}
}

func TestVersion(t *testing.T) {
	o := newOperator(t)
	for _, args := range [][]string{{"version"}, {"--version"}} {
		if got, want := o.must(t, args...).stdout, "atoll 1.2.3\n"; got != want {
			t.Errorf("atoll %s printed %q, want %q", args[0], got, want)
		}
	}
}
