//go:build linux

package imagetest_test

import (
	"context"
	"encoding/json"
	"fmt"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/atollhq/terraform-provider-atoll/internal/lab"
	"github.com/atollhq/terraform-provider-atoll/internal/lab/network"
)

// seeded is the machine that Terraform cannot reach before it has joined.
const seeded = "hk3"

// seededAddress is the machine's, by its seed: the first of its site, given as a single one with a router outside of its
// network, as some providers do.
const seededAddress = "198.51.100.74/32"

// usersKey is the file of a key that only the user's own cloud-config knows.
func (s *site) usersKey() string { return filepath.Join(s.dir, "users-key") }

// addSeeded makes a seed with the user's own cloud-config beside it, as an operator does for remote hands, and puts a
// machine with it into the lab.
func (s *site) addSeeded(t *testing.T) {
	t.Helper()
	if out, err := s.OperatorCommand(t.Context(), "ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-C", "user", "-f", s.usersKey()).CombinedOutput(); err != nil {
		t.Fatalf("ssh-keygen: %v\n%s", err, out)
	}
	public, err := os.ReadFile(s.usersKey() + ".pub")
	if err != nil {
		t.Fatal(err)
	}
	config := filepath.Join(s.dir, "user-data")
	text := fmt.Sprintf("#cloud-config\ndisable_root: false\nssh_authorized_keys:\n  - %s\n"+
		"write_files:\n  - path: /etc/users-own\n    content: mine\n"+
		"  - path: /etc/systemd/system/after-join.service\n    content: |\n      [Unit]\n      After=atolld.service\n"+
		"      [Service]\n      Type=exec\n      ExecStart=/bin/sh -c \"atolld status --wait joined --json >/run/after-join && mv /run/after-join /var/lib/after-join\"\n"+
		"runcmd:\n  - [sh, -c, \"hostname > /var/lib/users-own\"]\n"+
		"  - systemctl daemon-reload\n  - systemctl start --no-block after-join.service\n", strings.TrimSpace(string(public)))
	if err := os.WriteFile(config, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	// As a machine in a rack without DHCP has it.
	seed := s.seed(t, seeded, "--user-data", config, "--address", seededAddress, "--gateway", "198.51.100.65",
		"--address", "2001:db8:0:2::a/64", "--gateway", network.GatewayAddress6)
	if err := s.Add(t.Context(), lab.Machine{Name: seeded, Site: network.SiteVPS, Seed: seed}); err != nil {
		t.Fatal(err)
	}
}

// seed makes the seed of a node and returns its path.
func (s *site) seed(t *testing.T, node string, args ...string) string {
	t.Helper()
	path := filepath.Join(s.dir, node+".seed.img")
	_, err := s.Atoll(t.Context(), append([]string{
		"seed", "--cluster", "web", "--node", node, "--seed", "198.51.100.10:7443", "--out", path,
	}, args...)...)
	if err != nil {
		t.Fatal(err)
	}
	return path
}

// userConfigRan looks for what the user's own user-data asked for: on the machine that Atoll's payload came to by the same
// disk, and on the Linode, where both come from the metadata service.
func userConfigRan(t *testing.T, s *site) {
	for _, n := range []string{seeded, "sg1"} {
		// It exits with 2 for a warning.
		if status, err := s.Exec(t.Context(), n, "cloud-init", "status", "--wait", "--long"); err != nil || !strings.Contains(string(status), "done") {
			t.Errorf("%s: cloud-init complains: %v\n%s", n, err, status)
		}
	}
	if got := s.exec(t, seeded, "cat", "/etc/users-own", "/var/lib/users-own"); got != "mine"+seeded {
		t.Errorf("the user's files are %q", got)
	}
	// The user's own step after the join has seen a member.
	s.eventually(t, "the user's step after the join is done", time.Minute, func(ctx context.Context) error {
		out, err := s.Exec(ctx, seeded, "cat", "/var/lib/after-join")
		if err == nil && !strings.Contains(string(out), `"node": "`+seeded+`"`) {
			return fmt.Errorf("it has seen %s", out)
		}
		return err
	})
	if got := s.exec(t, "sg1", "cat", "/var/lib/users-own"); got != "mine" {
		t.Errorf("the user's script on the Linode has left %q", got)
	}
	machine, err := s.Node(seeded)
	if err != nil {
		t.Fatal(err)
	}
	out, err := s.OperatorCommand(t.Context(), "ssh", "-F", "none", "-i", s.usersKey(), "-o", "IdentitiesOnly=yes", "-o", "BatchMode=yes",
		"-o", "LogLevel=ERROR", "-o", "StrictHostKeyChecking=no", "-o", "UserKnownHostsFile=/dev/null", "root@"+machine.IPv4, "hostname").CombinedOutput()
	if got := strings.TrimSpace(string(out)); err != nil || got != seeded {
		t.Errorf("root cannot log in with the user's key: %v: %s", err, got)
	}
}

// images lists the node images of the cloud's account, as somebody with its token sees them.
func (s *site) images(t *testing.T) []string {
	t.Helper()
	request := httptest.NewRequestWithContext(t.Context(), http.MethodGet, "/v4/images?page_size=100", http.NoBody)
	request.Header.Set("Authorization", "Bearer "+s.Variable("LINODE_TOKEN"))
	answer := httptest.NewRecorder()
	s.Cloud().ServeHTTP(answer, request)
	if answer.Code != http.StatusOK {
		t.Fatalf("list images: %d %s", answer.Code, answer.Body)
	}
	var list struct {
		Data []struct {
			ID    string `json:"id"`
			Label string `json:"label"`
		} `json:"data"`
	}
	if err := json.Unmarshal(answer.Body.Bytes(), &list); err != nil {
		t.Fatal(err)
	}
	var ids []string
	for _, image := range list.Data {
		if strings.HasPrefix(image.Label, "atoll-node-") {
			ids = append(ids, image.ID)
		}
	}
	return ids
}
