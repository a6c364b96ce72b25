package images_test

import (
	"io/fs"
	"os"
	"os/exec"
	"path"
	"regexp"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/atollhq/terraform-provider-atoll/images"
	"github.com/atollhq/terraform-provider-atoll/internal/agent/drivers"
)

// read returns a file of the description.
func read(t *testing.T, name string) string {
	t.Helper()
	text, err := fs.ReadFile(images.Description(), name)
	if err != nil {
		t.Fatal(err)
	}
	return string(text)
}

func TestPackages(t *testing.T) {
	name := regexp.MustCompile(`^[a-z0-9][a-z0-9+.-]+$`)
	in := map[string]string{}
	for _, list := range images.Lists() {
		packages, err := images.Packages(list)
		if err != nil {
			t.Fatal(err)
		}
		if len(packages) == 0 {
			t.Errorf("%s is empty", list)
		}
		if !strings.HasPrefix(read(t, "packages/"+list+".list"), "# ") {
			t.Errorf("%s does not say what its packages are for", list)
		}
		for _, p := range packages {
			if !name.MatchString(p) {
				t.Errorf("%s: %q is not the name of a package", list, p)
			}
			if other, ok := in[p]; ok {
				t.Errorf("%s is in %s and in %s", p, other, list)
			}
			in[p] = list
		}
	}
	if _, err := images.Packages("base", "nothing"); err == nil {
		t.Error("a list that does not exist was read")
	}
}

// TestEveryListIsUsed holds the scripts to what Go believes: a list that nobody installs would be missed on a node only.
func TestEveryListIsUsed(t *testing.T) {
	m := regexp.MustCompile(`(?m)^lists="(.*)"$`).FindStringSubmatch(read(t, "scripts/20-packages.sh"))
	if m == nil {
		t.Fatal("scripts/20-packages.sh names no lists")
	}
	node := strings.Fields(m[1])
	used := slices.Concat(node, images.BaseLists())
	for _, engine := range images.Databases() {
		used = append(used, "database-"+engine)
	}
	slices.Sort(used)
	if diff := cmp.Diff(images.Lists(), slices.Compact(used)); diff != "" {
		t.Errorf("lists that are there and lists that are used differ (-there +used):\n%s", diff)
	}
	for _, list := range images.ContainerLists() {
		if !slices.Contains(node, list) {
			t.Errorf("the lab's nodes have the list %s, real ones do not", list)
		}
	}
	for _, list := range images.UnstableLists() {
		if !slices.Contains(images.Lists(), list) || slices.Contains(node, list) {
			t.Errorf("%s is no list of its own that comes from unstable", list)
		}
	}
	if diff := cmp.Diff([]string{"mariadb", "mysql", "postgresql"}, images.Databases()); diff != "" {
		t.Errorf("engines differ from those that the templates take (-want +got):\n%s", diff)
	}
}

func TestWhatTheAgentNeedsIsInside(t *testing.T) {
	inside, err := images.Packages(slices.Concat(images.ContainerLists(), images.UnstableLists())...)
	if err != nil {
		t.Fatal(err)
	}
	for _, p := range drivers.Packages() {
		if !slices.Contains(inside, p.Name) {
			t.Errorf("the agent needs %s: add it to a list", p.Name)
		}
	}
}

func TestScripts(t *testing.T) {
	scripts, err := fs.Glob(images.Description(), "scripts/*")
	if err != nil {
		t.Fatal(err)
	}
	name := regexp.MustCompile(`^[0-9]{2}-[a-z-]+\.sh$`)
	for _, script := range scripts {
		if !name.MatchString(path.Base(script)) {
			t.Errorf("%s: build.sh does not know its place", script)
		}
		if text := read(t, script); !strings.HasPrefix(text, "# ") || !strings.Contains(text, "set -eu\n") {
			t.Errorf("%s does not say what it is for, or goes on after an error", script)
		}
	}
	if last := scripts[len(scripts)-1]; last != "scripts/90-seal.sh" {
		t.Errorf("%s comes after the image is sealed", last)
	}
}

// TestTemplatesAgree keeps what both sources of Packer do inside the machine the same.
func TestTemplatesAgree(t *testing.T) {
	inside := func(file string) string {
		text, err := os.ReadFile(file)
		if err != nil {
			t.Fatal(err)
		}
		environment := regexp.MustCompile(`(?s)  environment = \[.*?\n  \]`).FindString(string(text))
		steps := regexp.MustCompile(`(?s)  provisioner .*\n  \}\n`).FindString(string(text))
		steps = regexp.MustCompile(`destination = .*sbom.*`).ReplaceAllString(steps, "destination = SBOM")
		steps, _, _ = strings.Cut(steps, "\n  post-processor")
		if environment == "" || steps == "" {
			t.Fatalf("%s has no environment or no provisioners", file)
		}
		return environment + "\n" + strings.TrimRight(steps, "\n")
	}
	if diff := cmp.Diff(inside("qemu/node.pkr.hcl"), inside("linode/node.pkr.hcl")); diff != "" {
		t.Errorf("the sources make different nodes (-qemu +linode):\n%s", diff)
	}
}

// TestUpdates reads apt's settings as apt does.
func TestUpdates(t *testing.T) {
	if _, err := exec.LookPath("apt-config"); err != nil {
		t.Skip("SKIPPED: this machine has no apt to read apt's settings with")
	}
	out, err := exec.CommandContext(t.Context(), "apt-config", "-c", "node/rootfs/etc/apt/apt.conf.d/60atoll", "dump", "Unattended-Upgrade").Output()
	if err != nil {
		t.Fatal(err)
	}
	var origins []string
	for line := range strings.Lines(string(out)) {
		if value, ok := strings.CutPrefix(line, "Unattended-Upgrade::Origins-Pattern:: "); ok {
			origins = append(origins, strings.TrimSpace(value))
		}
	}
	if diff := cmp.Diff([]string{`"origin=Debian,codename=${distro_codename}-security,label=Debian-Security";`}, origins); diff != "" {
		t.Errorf("where updates come from differs (-want +got):\n%s", diff)
	}
	if !strings.Contains(string(out), `Unattended-Upgrade::Automatic-Reboot "false";`) {
		t.Errorf("a node may reboot by itself:\n%s", out)
	}
}

func TestFirewallIsClosed(t *testing.T) {
	text := read(t, "rootfs/etc/nftables.conf")
	for _, want := range []string{"table inet atoll_base", "policy drop", "set open_tcp", "set open_udp", "tcp dport 22 accept"} {
		if !strings.Contains(text, want) {
			t.Errorf("the rules have no %q", want)
		}
	}
	if strings.Contains(text, "elements") {
		t.Error("ports are open before the agent has opened them")
	}
	if _, err := exec.LookPath("nft"); err != nil || os.Geteuid() != 0 {
		t.Skip("SKIPPED: reading the rules as the kernel does takes nft and root")
	}
	nft := exec.CommandContext(t.Context(), "nft", "-c", "-f", "-")
	nft.Stdin = strings.NewReader(text)
	if out, err := nft.CombinedOutput(); err != nil {
		t.Errorf("%v: %s", err, out)
	}
}

func TestDigest(t *testing.T) {
	if d := images.Digest(); len(d) != 64 || d != images.Digest() {
		t.Errorf("got %q", d)
	}
}
