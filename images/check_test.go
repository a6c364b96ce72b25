package images_test

import (
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"github.com/atollhq/terraform-provider-atoll/images"
)

// privateKey is put together here, lest somebody's scanner takes this file for a secret.
const privateKey = "-----BEGIN OPENSSH " + "PRIVATE KEY-----\nx\n"

// sealed makes a small system with everything that check.sh looks at, sealed.
func sealed(t *testing.T) string {
	t.Helper()
	root := t.TempDir()
	for _, dir := range []string{
		"etc/ssh", "etc/atoll", "etc/tinc", "etc/network/interfaces.d", "etc/systemd/network", "etc/apt/apt.conf.d", "home", "root",
		"tmp", "var/tmp", "var/lib/atoll", "var/lib/apt/lists/partial", "var/cache/apt/archives/partial", "var/log/journal",
		"var/lib/mysql", "boot/efi", "usr/sbin",
	} {
		if err := os.MkdirAll(filepath.Join(root, dir), 0o700); err != nil {
			t.Fatal(err)
		}
	}
	for name, text := range map[string]string{
		"etc/machine-id":      "",
		"etc/hostname":        "localhost\n",
		"etc/hosts":           "127.0.0.1 localhost\n::1 localhost ip6-localhost # loopback\n",
		"etc/passwd":          "root:x:0:0:root:/root:/bin/bash\nnobody:x:65534:65534:nobody:/nonexistent:/usr/sbin/nologin\n",
		"etc/shadow":          "root:!*:20000:0:99999:7:::\nnobody:*:20000:0:99999:7:::\n",
		"var/log/README":      "see the journal\n",
		"etc/ssh/sshd_config": "# a vendor's\nPort 22\nInclude /etc/ssh/sshd_config.d/*.conf\nPasswordAuthentication yes\n",
	} {
		put(t, root, name, text)
	}
	for _, name := range []string{"etc/ssh/sshd_config.d/10-atoll.conf", "etc/nftables.conf", "etc/apt/apt.conf.d/60atoll"} {
		put(t, root, name, read(t, "rootfs/"+name))
	}
	wants := filepath.Join(root, "etc/systemd/system/sysinit.target.wants")
	if err := os.MkdirAll(wants, 0o700); err != nil {
		t.Fatal(err)
	}
	if err := os.Symlink("/usr/lib/systemd/system/nftables.service", filepath.Join(wants, "nftables.service")); err != nil {
		t.Fatal(err)
	}
	return root
}

func put(t *testing.T, root, name, text string) {
	t.Helper()
	file := filepath.Join(root, name)
	if err := os.MkdirAll(filepath.Dir(file), 0o700); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(file, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
}

func check(t *testing.T, root string) (string, error) {
	t.Helper()
	script, err := fs.ReadFile(images.Description(), "check.sh")
	if err != nil {
		t.Fatal(err)
	}
	cmd := exec.CommandContext(t.Context(), "sh", "-s", root)
	cmd.Stdin = strings.NewReader(string(script))
	out, err := cmd.CombinedOutput()
	return string(out), err
}

func TestCheckPassesWhatIsSealed(t *testing.T) {
	root := sealed(t)
	if out, err := check(t, root); err != nil {
		t.Errorf("%v: %s", err, out)
	}
	// A link to where systemd-resolved will be, and systemd's own word for a machine without a name.
	if err := os.Symlink("../run/systemd/resolve/stub-resolv.conf", filepath.Join(root, "etc/resolv.conf")); err != nil {
		t.Fatal(err)
	}
	put(t, root, "etc/machine-id", "uninitialized\n")
	if out, err := check(t, root); err != nil {
		t.Errorf("%v: %s", err, out)
	}
}

func TestCheckFindsEachLeftover(t *testing.T) {
	tests := []struct{ name, file, text string }{
		{"machine-id", "etc/machine-id", "0123456789abcdef0123456789abcdef\n"},
		{"machine-id of D-Bus", "var/lib/dbus/machine-id", "0123456789abcdef0123456789abcdef\n"},
		{"host key", "etc/ssh/ssh_host_ed25519_key", "x"},
		{"public host key", "etc/ssh/ssh_host_rsa_key.pub", "x"},
		{"random seed", "var/lib/systemd/random-seed", "x"},
		{"credential key", "var/lib/systemd/credential.secret", "x"},
		{"host name", "etc/hostname", "builder\n"},
		{"name in hosts", "etc/hosts", "127.0.0.1 localhost\n127.0.1.1 builder\n"},
		{"agent's identity", "var/lib/atoll/identity/key", "x"},
		{"ticket", "etc/atoll/first-boot.json", "{}"},
		{"ticket on the boot partition", "boot/efi/atoll.json", "{}"},
		{"mesh key", "etc/tinc/atoll/ed25519_key.priv", "x"},
		{"WireGuard key", "etc/wireguard/atoll0.conf", "x"},
		{"password", "etc/shadow", "root:$y$j9T$x$y:20000:0:99999:7:::\n"},
		{"no password at all", "etc/shadow", "root::20000:0:99999:7:::\n"},
		{"password in passwd", "etc/passwd", "root::0:0:root:/root:/bin/bash\n"},
		{"user", "etc/passwd", "root:x:0:0:root:/root:/bin/bash\ndebian:x:1000:1000::/home/debian:/bin/bash\n"},
		{"second root", "etc/passwd", "root:x:0:0:root:/root:/bin/bash\ntoor:x:0:0::/root:/bin/bash\n"},
		{"authorized key", "root/.ssh/authorized_keys", "ssh-ed25519 x"},
		{"home", "home/debian/.profile", "x"},
		{"history", "root/.bash_history", "x"},
		{"sudo", "etc/sudoers.d/90-cloud-init-users", "x"},
		{"passwords for SSH", "etc/ssh/sshd_config.d/10-atoll.conf", "PasswordAuthentication yes\nKbdInteractiveAuthentication no\nPermitEmptyPasswords no\n"},
		{"passwords for SSH, read first", "etc/ssh/sshd_config.d/01-vendor.conf", "PasswordAuthentication yes\n"},
		{"passwords for SSH before the folder", "etc/ssh/sshd_config", "PasswordAuthentication yes\nInclude /etc/ssh/sshd_config.d/*.conf\n"},
		{"open firewall", "etc/nftables.conf", "flush ruleset\n"},
		{"private key", "etc/ssl/private/site.key", privateKey},
		{"private key somewhere", "opt/app/key", privateKey},
		{"MySQL's data", "var/lib/mysql/auto.cnf", "x"},
		{"PostgreSQL's data", "var/lib/postgresql/17/main/PG_VERSION", "17"},
		{"etcd's data", "var/lib/etcd/default/member/wal/0.wal", "x"},
		{"database password", "etc/mysql/debian.cnf", "x"},
		{"shared certificate", "etc/ssl/private/ssl-cert-snakeoil.key", "x"},
		{"log", "var/log/apt/history.log", "x"},
		{"empty log", "var/log/wtmp", ""},
		{"journal", "var/log/journal/0123456789abcdef0123456789abcdef/system.journal", "x"},
		{"apt's lists", "var/lib/apt/lists/mirror_dists_trixie_InRelease", "x"},
		{"apt's archives", "var/cache/apt/archives/tinc_1_amd64.deb", "x"},
		{"apt's cache", "var/cache/apt/pkgcache.bin", "x"},
		{"cloud-init's state", "var/lib/cloud/instances/x/user-data.txt", "x"},
		{"DHCP lease", "var/lib/dhcp/dhclient.leases", "x"},
		{"DUID of another DHCP client", "var/lib/dhcpcd/duid", "x"},
		{"state of the clock", "var/lib/chrony/chrony.drift", "x"},
		{"state of a service", "var/lib/private/x/y", "x"},
		{"memory of a program", "var/lib/systemd/coredump/core.x.zst", "x"},
		{"name for iSCSI", "etc/iscsi/initiatorname.iscsi", "x"},
		{"name for NVMe", "etc/nvme/hostnqn", "x"},
		{"mark of a boot", "var/lib/misc/atoll-root-locked", ""},
		{"rendered network", "etc/systemd/network/10-cloud-init-eth0.network", "x"},
		{"old network", "etc/network/interfaces.d/50-cloud-init", "x"},
		{"network of netplan", "etc/netplan/50-cloud-init.yaml", "x"},
		{"network card's name", "etc/udev/rules.d/70-persistent-net.rules", "x"},
		{"name server", "etc/resolv.conf", "nameserver 192.0.2.1\n"},
		{"policy of the build", "usr/sbin/policy-rc.d", "x"},
		{"apt's settings of the build", "etc/apt/apt.conf.d/99atoll-build", "x"},
		{"proxy", "etc/apt/apt.conf.d/50proxy", "Acquire::http::Proxy \"http://192.0.2.1:3128\";\n"},
		{"password in a source", "etc/apt/sources.list", "deb http://user:secret@mirror.invalid/debian trixie main\n"},
		{"password of an archive", "etc/apt/auth.conf.d/mirror.conf", "x"},
		{"backup of passwords", "etc/shadow-", "x"},
		{"temporary file", "tmp/x", "x"},
		{"hidden temporary file", "var/tmp/.x", "x"},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			root := sealed(t)
			put(t, root, tt.file, tt.text)
			out, err := check(t, root)
			if err == nil {
				t.Fatalf("it passed: %s", out)
			}
			// Where a whole folder must be empty, the folder is named.
			named := false
			for path := tt.file; path != "."; path = filepath.Dir(path) {
				named = named || strings.Contains(out, ": /"+path+"\n")
			}
			if !named {
				t.Errorf("it does not name %s: %s", tt.file, out)
			}
			if n := strings.Count(out, "not sealed"); n > 2 {
				t.Errorf("one leftover gave %d findings: %s", n, out)
			}
		})
	}
}

func TestCheckFindsADanglingLink(t *testing.T) {
	root := sealed(t)
	if err := os.Symlink("nowhere", filepath.Join(root, "etc/ssh/ssh_host_rsa_key")); err != nil {
		t.Fatal(err)
	}
	if out, err := check(t, root); err == nil {
		t.Errorf("it passed: %s", out)
	}
}

func TestCheckFindsMissingSettings(t *testing.T) {
	for _, name := range []string{
		"etc/ssh/sshd_config.d/10-atoll.conf", "etc/ssh/sshd_config", "etc/nftables.conf", "etc/systemd/system/sysinit.target.wants/nftables.service",
	} {
		root := sealed(t)
		if err := os.Remove(filepath.Join(root, name)); err != nil {
			t.Fatal(err)
		}
		if out, err := check(t, root); err == nil {
			t.Errorf("it passed without %s: %s", name, out)
		}
	}
}
