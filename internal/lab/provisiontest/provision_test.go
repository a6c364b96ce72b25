//go:build linux

package provisiontest_test

import (
	"encoding/json"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
)

// file is a file's name and text.
type file struct{ name, text string }

// sources are a base's own archives: Debian's, and one of the vendor who made the base.
func (a *archive) sources() []file {
	const folder = "/etc/apt/sources.list.d/"
	stanza := func(uri, suites, component string) string {
		return fmt.Sprintf("Types: deb\nURIs: %s\nSuites: %s\nComponents: %s\nSigned-By: /usr/share/keyrings/debian-archive-keyring.gpg\n\n", uri, suites, component)
	}
	return []file{
		{folder + "debian.sources", stanza(a.url+"/debian", "trixie trixie-updates", "main") + stanza(a.url+"/debian-security", "trixie-security", "main")},
		{folder + "agent.list", "deb [trusted=yes] " + a.url + "/vendor trixie main\n"},
		{folder + "vendor.sources", stanza(a.url+"/vendor", "trixie", "main")},
		{"/etc/apt/sources.list", "deb " + a.url + "/vendor trixie main\n"},
	}
}

// TestProvision makes nodes with every database engine that there is.
func TestProvision(t *testing.T) {
	require(t)
	a := newArchive(t)
	t.Run("mariadb and postgresql", func(t *testing.T) {
		r := newRoot(t)
		r.addAgent(t)
		environment := []string{
			"ATOLL_VERSION=1.2.3", "ATOLL_ATOLLD=" + inside + "/atolld", "ATOLL_DATABASES=postgresql mariadb", "ATOLL_MIRROR=" + a.url + "/debian",
			"ATOLL_VALID_UNTIL=no", "SOURCE_DATE_EPOCH=1767225600",
		}
		r.scripts(t, environment, "[1-8]*.sh")
		r.wantRecord(t, facts{Version: "1.2.3", Debian: "trixie", Databases: []string{"mariadb", "postgresql"}, Built: "2026-01-01T00:00:00Z"})
		r.wantSameRecord(t, environment)
		r.wantInstalled(t, "mariadb-server", "galera-4", "postgresql", "patroni", "etcd-server", "tinc", "chrony")
		r.seal(t, environment)
		r.wantDisabled(t, "mariadb.service", "postgresql.service", "patroni.service", "etcd.service", "haproxy.service")
		r.wantEmpty(t, "/var/lib/mysql", "/var/lib/postgresql", "/var/lib/etcd")
		if text := r.read(t, "/etc/apt/sources.list.d/debian.sources"); !strings.Contains(text, "URIs: "+a.url+"/debian\n") || !strings.Contains(text, "URIs: "+a.url+"/debian-security\n") {
			t.Errorf("a node would take its updates from\n%s", text)
		}
	})
	a.seen()
	t.Run("mysql, from a snapshot", func(t *testing.T) {
		r := newRoot(t)
		r.addAgent(t)
		for _, f := range a.sources() {
			r.write(t, f.name, f.text)
		}
		environment := []string{
			"ATOLL_VERSION=2.0.0", "ATOLL_ATOLLD=" + inside + "/atolld", "ATOLL_DATABASES=mysql", "ATOLL_SNAPSHOT=" + moment, "ATOLL_SNAPSHOT_SERVICE=" + a.url + "/snapshot/",
		}
		r.scripts(t, environment, "[1-8]*.sh")
		a.wantOnlySnapshot(t)
		r.wantRecord(t, facts{Version: "2.0.0", Debian: "trixie", Snapshot: moment, Databases: []string{"mysql"}, Built: "2026-11-01T00:00:00Z"})
		r.wantSameRecord(t, environment)
		r.wantInstalled(t, "mysql-server", "mysql-router", "tinc", "chrony")
		r.seal(t, environment)
		r.wantDisabled(t, "mysql.service", "haproxy.service")
		r.wantEmpty(t, "/var/lib/mysql", "/var/lib/mysql-files", "/var/lib/mysqlrouter")
		r.wantSources(t, a)
	})
}

// wantOnlySnapshot fails when apt has asked for anything but the snapshot.
func (a *archive) wantOnlySnapshot(t *testing.T) {
	t.Helper()
	asked := a.seen()
	if len(asked) == 0 {
		t.Error("apt asked for nothing")
	}
	for _, path := range asked {
		if !strings.HasPrefix(path, "/snapshot/debian/"+moment+"/") && !strings.HasPrefix(path, "/snapshot/debian-security/"+moment+"/") {
			t.Errorf("apt asked for %s, which is not of the snapshot", path)
			return
		}
	}
}

// wantSources fails when a node of the image would take updates from elsewhere than a machine of the base.
func (r root) wantSources(t *testing.T, a *archive) {
	t.Helper()
	want := []string{"mysql.sources"}
	for _, f := range a.sources() {
		if got := r.read(t, f.name); got != f.text {
			t.Errorf("%s is\n%s\nwant\n%s", f.name, got, f.text)
		}
		if filepath.Base(filepath.Dir(f.name)) == "sources.list.d" {
			want = append(want, filepath.Base(f.name))
		}
	}
	slices.Sort(want)
	var got []string
	entries, err := os.ReadDir(r.path("/etc/apt/sources.list.d"))
	if err != nil {
		t.Fatal(err)
	}
	for _, e := range entries {
		got = append(got, e.Name())
	}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("sources (-want +got):\n%s", diff)
	}
	if text := r.read(t, "/etc/apt/sources.list.d/mysql.sources"); !strings.Contains(text, "URIs: "+a.url+"/debian\nSuites: sid\n") {
		t.Errorf("MySQL's updates would come from\n%s", text)
	}
}

// facts are those of image.json that the test knows beforehand.
type facts struct {
	Version   string   `json:"version"`
	Debian    string   `json:"debian"`
	Snapshot  string   `json:"snapshot"`
	Databases []string `json:"databases"`
	Built     string   `json:"built"`
}

// wantRecord compares what the image says of itself with what it is.
func (r root) wantRecord(t *testing.T, want facts) {
	t.Helper()
	var got facts
	if err := json.Unmarshal([]byte(r.read(t, "/usr/lib/atoll/image.json")), &got); err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("image.json (-want +got):\n%s", diff)
	}
	var bom struct {
		Components []struct {
			BOMRef   string `json:"bom-ref"`
			Name     string `json:"name"`
			Version  string `json:"version"`
			Licences []struct {
				License struct {
					Name string `json:"name"`
				} `json:"license"`
			} `json:"licenses"`
		} `json:"components"`
	}
	if err := json.Unmarshal([]byte(r.read(t, "/usr/lib/atoll/sbom.cdx.json")), &bom); err != nil {
		t.Fatal(err)
	}
	var named []string
	others, licensed := 0, 0
	for _, c := range bom.Components {
		if strings.HasPrefix(c.BOMRef, "deb/") {
			named = append(named, c.Name+" "+c.Version)
			if len(c.Licences) > 0 && c.Licences[0].License.Name != "" {
				licensed++
			}
		} else {
			others++
		}
	}
	installed := strings.Split(strings.TrimSpace(r.run(t, nil, "dpkg-query", "-W", "-f", "${Package} ${Version}\n")), "\n")
	slices.Sort(named)
	slices.Sort(installed)
	if diff := cmp.Diff(installed, named); diff != "" {
		t.Errorf("the bill of materials differs from what is installed (-installed +named):\n%s", diff)
	}
	// Not every package has a copyright file for machines.
	if licensed < len(named)*3/4 {
		t.Errorf("the bill of materials has the licences of %d packages of %d", licensed, len(named))
	}
	if others < 10 {
		t.Errorf("the bill of materials has %d components beside the packages, want the agent and its modules", others)
	}
}

// wantSameRecord writes the record again, which must not change it, and once more at another time, which must not change the
// number of the bill of materials.
func (r root) wantSameRecord(t *testing.T, environment []string) {
	t.Helper()
	read := func() (image, bom string) {
		return r.read(t, "/usr/lib/atoll/image.json"), r.read(t, "/usr/lib/atoll/sbom.cdx.json")
	}
	number := func(bom string) string {
		var b struct{ SerialNumber string }
		if err := json.Unmarshal([]byte(bom), &b); err != nil || !strings.HasPrefix(b.SerialNumber, "urn:uuid:") {
			t.Fatalf("the bill of materials has the number %q, %v", b.SerialNumber, err)
		}
		return b.SerialNumber
	}
	image, bom := read()
	r.scripts(t, environment, "70-record.sh")
	if again, bomAgain := read(); again != image || bomAgain != bom {
		t.Errorf("the record of the same content differs:\n%s\n%s", cmp.Diff(image, again), cmp.Diff(bom, bomAgain))
	}
	r.scripts(t, append(slices.Clone(environment), "SOURCE_DATE_EPOCH=1", "ATOLL_VERSION=another"), "70-record.sh")
	later, bomLater := read()
	if later == image || bomLater == bom || number(bomLater) != number(bom) {
		t.Errorf("at another time the image is\n%s\nand its bill of materials %s, want another image and %s", later, number(bomLater), number(bom))
	}
	r.scripts(t, environment, "70-record.sh")
}

func (r root) wantInstalled(t *testing.T, packages ...string) {
	t.Helper()
	installed := strings.Split(r.run(t, nil, "dpkg-query", "-W", "-f", "${db:Status-Status} ${Package}\n"), "\n")
	for _, p := range packages {
		if !slices.Contains(installed, "installed "+p) {
			t.Errorf("%s is not installed", p)
		}
	}
}

// seal takes out what no two nodes may share and has the check look for the rest.
func (r root) seal(t *testing.T, environment []string) {
	t.Helper()
	r.scripts(t, environment, "9*.sh")
	check := filepath.Join(t.TempDir(), "check.sh")
	if err := os.Rename(r.path(inside+"/check.sh"), check); err != nil {
		t.Fatal(err)
	}
	for _, name := range []string{inside, hasty} {
		if err := os.RemoveAll(r.path(name)); err != nil {
			t.Fatal(err)
		}
	}
	if out, err := exec.CommandContext(t.Context(), "sh", check, r.dir).CombinedOutput(); err != nil {
		t.Errorf("%v\n%s", err, out)
	}
}

// wantDisabled fails for units that would start before the agent wants them, or that are not there.
func (r root) wantDisabled(t *testing.T, units ...string) {
	t.Helper()
	for _, unit := range units {
		out, _ := exec.CommandContext(t.Context(), "systemctl", "--root="+r.dir, "is-enabled", unit).CombinedOutput() // it exits with 1 for what it says
		if state := strings.TrimSpace(string(out)); state != "disabled" {
			t.Errorf("%s is %s, want disabled", unit, state)
		}
	}
}

func (r root) wantEmpty(t *testing.T, folders ...string) {
	t.Helper()
	for _, folder := range folders {
		entries, err := os.ReadDir(r.path(folder))
		if err != nil && !os.IsNotExist(err) || len(entries) > 0 {
			t.Errorf("%s has %v, %v", folder, entries, err)
		}
	}
}

// TestRootByPartition runs the step for Debian's own disks, which name their root by its partition. What would change a disk only
// says so.
func TestRootByPartition(t *testing.T) {
	require(t)
	r := newRoot(t)
	r.write(t, "/etc/fstab", "# a comment / here\nPARTUUID=0b5e-01 / ext4 rw,discard 0 1\nPARTUUID=0b5e-15 /boot/efi vfat defaults 0 0\n")
	r.write(t, "/boot/grub/grub.cfg", "menuentry 'Debian' {\n\tlinux /boot/vmlinuz-6.12 root=PARTUUID=0b5e-01 ro\n}\n")
	for name, text := range map[string]string{"findmnt": "echo /dev/sda1", "e2label": `echo "$@" >/e2label`} {
		r.write(t, "/usr/local/bin/"+name, "#!/bin/sh\n"+text+"\n")
		if err := os.Chmod(r.path("/usr/local/bin/"+name), 0o755); err != nil {
			t.Fatal(err)
		}
	}
	for range 2 {
		r.scripts(t, nil, "60-first-boot.sh")
		if got := r.read(t, "/e2label"); got != "/dev/sda1 rootfs\n" {
			t.Errorf("e2label was called with %q", got)
		}
		want := "# a comment / here\nLABEL=rootfs / ext4 rw,discard,x-systemd.growfs 0 1\nPARTUUID=0b5e-15 /boot/efi vfat defaults 0 0\n"
		if diff := cmp.Diff(want, r.read(t, "/etc/fstab")); diff != "" {
			t.Errorf("fstab (-want +got):\n%s", diff)
		}
		if got := r.read(t, "/boot/grub/grub.cfg"); !strings.Contains(got, "linux /vmlinuz root=LABEL=rootfs ro") || strings.Contains(got, "PARTUUID") {
			t.Errorf("grub.cfg is\n%s", got)
		}
	}
}
