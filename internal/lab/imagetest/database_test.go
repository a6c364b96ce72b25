//go:build linux

package imagetest_test

import (
	"context"
	"crypto/rand"
	"fmt"
	"os/exec"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/atollhq/terraform-provider-atoll/internal/lab"
	"github.com/atollhq/terraform-provider-atoll/internal/nodeimage"
)

// What applications connect to on their own node: the router for writes and the one for reads; and the node's own server.
const (
	writes = 6446
	reads  = 6447
	member = 3306
)

// agreeing is how long a database may take until it is of one mind.
const agreeing = 2 * time.Minute

// confined is the node that has Debian's AppArmor with its profiles, as every machine that Debian's installer has made. The image
// leaves it out. Another has what the image has.
const confined = "hk1"

// hasMySQL tells whether the image to be tested has that engine.
func hasMySQL(t *testing.T) bool {
	t.Helper()
	_, path := require(t)
	m, _, err := nodeimage.Read(path)
	if err != nil {
		t.Fatal(err)
	}
	return slices.Contains(m.Databases, "mysql")
}

// databaseBegins makes a database of the three nodes. Each node's application writes, and the others' read it.
func databaseBegins(t *testing.T, s *site) {
	if !hasMySQL(t) {
		t.Skip("NO DATABASE WAS MADE: the image has no MySQL: DATABASES=mysql make image builds one that has")
	}
	s.addAppArmor(t, confined)
	s.Work.Env = append(s.Work.Env, "TF_VAR_with_database=true")
	s.mustRun(t, "apply", "-auto-approve")
	s.wantHealthy(t, settling, everyNode...)
	s.wantCrossing(t)
	s.wantEnforced(t, confined)
	if r, err := s.run(t, "plan", "-detailed-exitcode"); err != nil {
		t.Errorf("with a database the plan is not empty (exit code %d):\n%s", r.Code, r.Output)
	}
	for _, n := range everyNode {
		s.wantOwnServer(t, n)
	}
}

// wantCrossing has an application on each node write through its router, and those of the others read it through theirs. The
// servers of all nodes must have it, too.
func (s *site) wantCrossing(t *testing.T) {
	t.Helper()
	for _, from := range everyNode {
		token := rand.Text()
		s.eventually(t, "an application on "+from+" writes", agreeing, func(ctx context.Context) error {
			_, err := s.ask(ctx, from, writes, "CREATE TABLE IF NOT EXISTS crossing (writer VARCHAR(64) PRIMARY KEY, token VARCHAR(64) NOT NULL); "+
				"REPLACE INTO crossing VALUES ('"+from+"', '"+token+"')")
			return err
		})
		for _, to := range everyNode {
			for _, port := range []int{reads, member} {
				s.eventually(t, fmt.Sprintf("at port %d of %s it is read", port, to), agreeing, func(ctx context.Context) error {
					got, err := s.ask(ctx, to, port, "SELECT token FROM crossing WHERE writer = '"+from+"'")
					if err == nil && got != token {
						err = fmt.Errorf("what was read is %q, and %q was written", got, token)
					}
					return err
				})
			}
		}
	}
}

// written returns all that applications have written, "" when there is no database.
func (s *site) written(t *testing.T) string {
	t.Helper()
	if !hasMySQL(t) {
		return ""
	}
	content, err := s.content(t.Context(), everyNode[0])
	if err != nil || content == "" {
		t.Fatalf("applications have written %q, %v", content, err)
	}
	return content
}

// wantWritten demands that what applications have written before is there on every node, and that they can go on.
func (s *site) wantWritten(t *testing.T, before string) {
	t.Helper()
	if before == "" {
		return
	}
	for _, n := range everyNode {
		if got, err := s.content(t.Context(), n); err != nil || got != before {
			t.Errorf("on %s applications have written %q, %v, want %q", n, got, err, before)
		}
	}
	s.wantCrossing(t)
}

// content is all that applications have written, as the server of a node has it.
func (s *site) content(ctx context.Context, node string) (string, error) {
	return s.ask(ctx, node, member, "SELECT writer, token FROM crossing ORDER BY writer")
}

// ask lets an application's account run statements on a node, at a port of its own loopback, and returns what they say.
func (s *site) ask(ctx context.Context, node string, port int, statements string) (string, error) {
	// mysql takes no password from a socket, which standard input may be.
	cmd, err := s.Command(ctx, node, "sh", "-c", `cat | timeout 60 mysql --defaults-extra-file=/dev/stdin --batch --skip-column-names --execute="$1" app`, "sh", statements)
	if err != nil {
		return "", err
	}
	cmd.Stdin = strings.NewReader(fmt.Sprintf("[client]\nhost=127.0.0.1\nport=%d\nuser=app\npassword=%s\n", port, s.Variable(lab.DatabasePasswordVariable)))
	return said(cmd)
}

// said runs a command and returns what it says. What it complains of is in the error.
func said(cmd *exec.Cmd) (string, error) {
	var complaint strings.Builder
	cmd.Stderr = &complaint
	out, err := cmd.Output()
	if err != nil {
		err = fmt.Errorf("%w: %s", err, strings.TrimSpace(complaint.String()))
	}
	return strings.TrimSpace(string(out)), err
}

// addAppArmor installs the AppArmor of this machine's Debian on a node, and has it enforce the profile of Debian's MySQL.
func (s *site) addAppArmor(t *testing.T, node string) {
	t.Helper()
	// It is not installed here: it would load its profiles for this machine.
	dir := t.TempDir()
	get := exec.CommandContext(t.Context(), "apt-get", "-o", "APT::Sandbox::User=root", "-qq", "download", "apparmor")
	get.Dir = dir
	if _, err := said(get); err != nil {
		t.Fatalf("get Debian's package apparmor: %v", err)
	}
	packages, err := filepath.Glob(filepath.Join(dir, "apparmor_*.deb"))
	if err != nil || len(packages) != 1 {
		t.Fatalf("the packages are %v, %v, want apparmor", packages, err)
	}
	s.send(t, node, packages[0], "/run/apparmor.deb")
	s.exec(t, node, "sh", "-c", "DEBIAN_FRONTEND=noninteractive dpkg --install /run/apparmor.deb >/run/apparmor.log 2>&1 || { cat /run/apparmor.log >&2; exit 1; }")
	s.wantEnforced(t, node)
}

// wantEnforced demands that the kernel of a node confines MySQL when it is started by its path. Otherwise what follows proves
// nothing.
func (s *site) wantEnforced(t *testing.T, node string) {
	t.Helper()
	if got := s.exec(t, node, "cat", "/sys/kernel/security/apparmor/profiles"); !strings.Contains(got, "/usr/sbin/mysqld (enforce)") {
		t.Fatalf("%s does not enforce the profile of Debian's MySQL but %q", node, got)
	}
	const elsewhere = "/var/lib/" + probe
	s.exec(t, node, "sh", "-c", "echo '[mysqld]' >"+elsewhere)
	if out, err := s.Exec(t.Context(), node, "mysqld", "--defaults-file="+elsewhere, "--user=mysql", "--validate-config"); err == nil {
		t.Fatalf("MySQL of %s reads files that Debian's profile does not know: %s", node, out)
	}
}

// probe is a file that no MySQL under Debian's profile can read.
const probe = "confined-mysqld.cnf"

// send copies a file of this machine to a node.
func (s *site) send(t *testing.T, node, path, to string) {
	t.Helper()
	cmd, err := s.Command(t.Context(), node, "sh", "-c", `cat >"$1"`, "sh", to)
	if err != nil {
		t.Fatal(err)
	}
	cmd.Stdin = strings.NewReader(string(read(t, path)))
	if _, err := said(cmd); err != nil {
		t.Fatalf("copy %s to %s: %v", filepath.Base(path), node, err)
	}
}

// wantOwnServer demands that the server of a node is Atoll's: no other's limits, no other's data.
func (s *site) wantOwnServer(t *testing.T, node string) {
	t.Helper()
	pid := s.exec(t, node, "systemctl", "show", "--property=MainPID", "--value", "atoll-mysql.service")
	if n, err := strconv.Atoi(pid); err != nil || n == 0 {
		t.Fatalf("atoll-mysql.service of %s has the process %q", node, pid)
	}
	for what, one := range map[string]struct{ command, want string }{
		"AppArmor's profile":         {"cat /proc/" + pid + "/attr/current", "unconfined"},
		"user":                       {"ps -o user= -p " + pid, "mysql"},
		"bounding set":               {"sed -n 's/^CapBnd:[[:space:]]*//p' /proc/" + pid + "/status", "0000000000000000"},
		"what is in /var/lib/mysql":  {"find /var/lib/mysql -type f", ""},
		"other servers":              {"pgrep -x mysqld | grep -vx " + pid + " || true", ""},
		"refused by AppArmor":        {"journalctl -k -o cat --no-pager | grep 'apparmor=\"DENIED\"' | grep mysql | grep -v " + probe + " | head -n 5", ""},
		"owner and mode of the data": {"stat -c '%U %a' /var/lib/atoll-mysql", "mysql 750"},
	} {
		if got := s.exec(t, node, "sh", "-c", one.command); got != one.want {
			t.Errorf("%s: %s is %q, want %q", node, what, got, one.want)
		}
	}
	if got, err := s.ask(t.Context(), node, member, "SELECT @@datadir"); err != nil || got != "/var/lib/atoll-mysql/current/data/" {
		t.Errorf("the data of %s is in %q, %v", node, got, err)
	}
	t.Logf("%s: %s", node, s.exec(t, node, "sh", "-c", "free -m | head -n 2; grep VmRSS /proc/"+pid+"/status; systemd-analyze security --no-pager atoll-mysql.service | tail -n 1"))
}
