//go:build linux

package e2e_test

import (
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/atollhq/terraform-provider-atoll/internal/lab"
	"github.com/atollhq/terraform-provider-atoll/internal/lab/leak"
	"github.com/atollhq/terraform-provider-atoll/internal/lab/network"
)

// noSecretLeaks looks for every secret of this run in everything that the run has written and that is not the secret's
// own place: state, its backups, plans as files and as JSON, trace logs, journals, command lines, and the nodes' files
// that others than root can read.
func noSecretLeaks(t *testing.T, s *site) {
	plan := s.Work.Path("saved.tfplan")
	s.mustRun(t, "plan", "-out="+plan, "-replace="+s.address(t, "sg1"))
	found := s.secrets(t)
	t.Logf("looking for %d forms of secrets", found.Len())
	if found.Len() < 100 {
		t.Fatalf("only %d forms of secrets are known: the scenario does not know what to look for", found.Len())
	}
	s.seen.report(t)
	for what, text := range map[string][]byte{
		"the state as JSON": []byte(s.mustRun(t, "show", "-json").Stdout),
		"the plan as JSON":  []byte(s.mustRun(t, "show", "-json", plan).Stdout),
		"the plan as text":  []byte(s.mustRun(t, "show", plan).Stdout),
		"command lines":     s.seen.text(),
	} {
		if len(text) < 100 {
			t.Errorf("%s is empty, there was nothing to look at", what)
		}
		for _, name := range found.In(text) {
			t.Errorf("%s holds %s", what, name)
		}
	}
	own := map[string]bool{s.KeyFile: true}
	for _, below := range []string{s.dir, s.Programs.Dir} {
		// The folder has state, backups, the saved plan, and the trace log; the providers are links to the programs.
		findings, files, err := found.Below(below, func(path string, info os.FileInfo) bool { return !own[path] && info.Size() < 1<<30 })
		if err != nil || files == 0 {
			t.Errorf("%s: %d files, %v", below, files, err)
		}
		for _, finding := range findings {
			t.Error(finding)
		}
	}
	s.wantGuardedMetadata(t, "sg1")
	trace, err := os.Stat(filepath.Join(s.dir, "trace.log"))
	if err != nil || trace.Size() < 1<<20 {
		t.Errorf("the trace log is missing or has too little to be one: %v", err)
	}
	for _, node := range append([]string{spare}, everyNode...) {
		for _, name := range found.In([]byte(s.exec(t, node, "journalctl", "--no-pager", "-o", "export"))) {
			t.Errorf("the journal of %s holds %s", node, name)
		}
		root := s.root(node)
		findings, files, err := found.Below(root, leak.ReadableByOthers)
		if err != nil || files == 0 {
			t.Errorf("%s: %d files, %v", root, files, err)
		}
		for _, finding := range findings {
			t.Error(finding)
		}
	}
}

// wantGuardedMetadata demands that only root on a node can read its first-boot data.
func (s *site) wantGuardedMetadata(t *testing.T, node string) {
	t.Helper()
	if len(s.userData(t, node)) == 0 {
		t.Fatal("root finds no first-boot data: the scenario does not know how to look")
	}
	const look = "curl -s -m 3 -X PUT -H 'Metadata-Token-Expiry-Seconds: 60' http://169.254.169.254/v1/token"
	if out, err := s.Exec(t.Context(), node, "runuser", "-u", "nobody", "--", "sh", "-c", look); err == nil {
		t.Errorf("anybody on %s can ask the metadata service: %d bytes came", node, len(out))
	}
}

// secrets collects every secret of the run from its own place.
func (s *site) secrets(t *testing.T) *leak.Secrets {
	t.Helper()
	out := &leak.Secrets{}
	add := func(err error) {
		t.Helper()
		if err != nil {
			t.Fatal(err)
		}
	}
	read := func(path string) []byte {
		data, err := os.ReadFile(path)
		add(err)
		return data
	}
	add(out.AddPEM("the signing key", read(s.KeyFile)))
	add(out.AddPEM("the operator's SSH key", read(s.Variable("ATOLL_LAB_SSH_KEY"))))
	out.AddText("the Linode token", s.Variable("LINODE_TOKEN"))
	out.AddText("the password of the database's user", s.Variable(lab.DatabasePasswordVariable))
	s.userData(t, "sg1")
	for _, node := range everyNode {
		add(out.AddPEM("the identity of "+node, []byte(s.exec(t, node, "cat", "/var/lib/atoll/identity.pem"))))
		add(out.AddPEM("the mesh key of "+node, []byte(s.exec(t, node, "cat", "/etc/tinc/atoll/rsa_key.priv"))))
		given := s.given.of(node)
		if len(given) == 0 {
			t.Errorf("nobody saw the first-boot data of %s: the scenario does not know what to look for", node)
		}
		for i, data := range given {
			add(out.AddFirstBoot(fmt.Sprintf("first-boot data %d of %s", i+1, node), []byte(data)))
		}
	}
	return out
}

// wantNoTrace removes the lab and demands that nothing of it is left on this machine.
func (s *site) wantNoTrace(t *testing.T) {
	t.Helper()
	if err := s.Close(); err != nil {
		t.Fatal(err)
	}
	wantNoLab(t, s.Name())
}

// wantNoLab demands that nothing of a lab is on this machine.
func wantNoLab(t *testing.T, name string) {
	t.Helper()
	for what, pattern := range map[string]string{
		"network namespaces": "/run/netns/" + network.Prefix(name) + "*",
		"data":               filepath.Join(lab.DefaultDataDir(), "*"+name+"*"),
		"files":              "/run/atoll-lab/" + name,
		"control groups":     "/sys/fs/cgroup/*/*" + name + "*",
	} {
		if left, err := filepath.Glob(pattern); err != nil || len(left) > 0 {
			t.Errorf("%s are left: %v (%v)", what, left, err)
		}
	}
	mounts, err := os.ReadFile("/proc/self/mounts")
	if err != nil {
		t.Fatal(err)
	}
	if strings.Contains(string(mounts), name) {
		t.Errorf("mounts of the lab are left:\n%s", mounts)
	}
}
