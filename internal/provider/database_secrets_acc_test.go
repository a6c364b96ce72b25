package provider_test

import (
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/atollhq/terraform-provider-atoll/internal/lab/leak"
	"github.com/atollhq/terraform-provider-atoll/internal/trust"
)

// TestNoDatabaseSecretLeaks runs the shipped provider under the real program with a database, tracing everything, and looks for the
// user's password, and for those of the accounts between members, in states, plans, logs and output, and among what nodes store.
func TestNoDatabaseSecretLeaks(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	work := w.workspace(t)
	config := "terraform {\n  required_providers {\n    atoll = { source = \"atollhq/atoll\" }\n  }\n}\n" +
		"variable \"password\" {\n  type      = string\n  ephemeral = true\n}\n" +
		strings.Replace(replicated(withUser("", 1), crewNames()...), `password = ""`, "password = var.password", 1)
	if err := work.Write("main.tf", config); err != nil {
		t.Fatal(err)
	}
	work.Env = append(work.Env, "TF_VAR_password="+databasePassword, "TF_LOG=trace", "TF_LOG_PATH="+filepath.Join(work.Dir, "trace.log"))
	var secrets leak.Secrets
	secrets.AddText("the user's password", databasePassword)
	outputs := map[string]string{}
	for _, args := range [][]string{
		{"init"}, {"plan", "-out=saved.tfplan"}, {"apply", "saved.tfplan"}, {"plan", "-detailed-exitcode"}, {"show", "-json"},
	} {
		r, err := work.Run(t.Context(), args...)
		if err != nil {
			t.Fatal(err)
		}
		outputs[args[0]] = r.Output
	}
	_, v, ok := strings.Cut(outputs["show"], `"group":"`)
	if !ok || len(v) < 36 {
		t.Fatal("the state has no group")
	}
	key, err := trust.DatabaseKeyOf(w.key, "web", "app", v[:36])
	if err != nil {
		t.Fatal(err)
	}
	for _, account := range []string{"replication", "router"} {
		password, err := key.Password(account)
		if err != nil {
			t.Fatal(err)
		}
		secrets.AddText("the password of "+account, password)
	}
	w.awaitOnline(t, 3)
	if got, _ := w.machineOf(t, "b1").DatabaseUsers(); got["bob"] != databasePassword {
		t.Errorf("the members know the users %v", len(got))
	}
	for command, output := range outputs {
		for _, finding := range secrets.In([]byte(output)) {
			t.Errorf("the output of %s: %s", command, finding)
		}
	}
	for where, dir := range map[string]string{"the operator's folder": work.Dir, "the machines": w.machines.Dir} {
		findings, files, err := secrets.Below(dir, func(_ string, info fs.FileInfo) bool { return dir == w.machines.Dir || !info.IsDir() })
		if err != nil || files == 0 {
			t.Errorf("%s: %d files: %v", where, files, err)
		}
		for _, finding := range findings {
			t.Errorf("%s: %s", where, finding)
		}
	}
	if info, err := os.Stat(filepath.Join(work.Dir, "trace.log")); err != nil || info.Size() < 1000 {
		t.Errorf("nothing was traced: %v", err)
	}
	if _, err := work.Run(t.Context(), "destroy", "-auto-approve"); err != nil {
		t.Fatal(err)
	}
}
