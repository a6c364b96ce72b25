package demo

import (
	"bytes"
	"context"
	"fmt"
	"os"
	"os/exec"
	"path"
	"strconv"
	"strings"
)

const (
	// Program is what the application's program is called, where it is built and on the nodes.
	Program = "atoll-demo"
	// Unit is its service on the nodes.
	Unit = Program + ".service"
	// Port is where it listens there.
	Port = 8080

	// UnreadyFile makes the application of a node find itself unwell while it is there, although it serves.
	UnreadyFile = "/run/" + Program + ".unready"

	programPath = "/usr/local/bin/" + Program
	keyPath     = "/etc/" + Program + "/key"
	// passwordPath has the password of the database's user; it is there where there is a database.
	passwordPath = "/etc/" + Program + "/database-password"
	unitPath     = "/etc/systemd/system/" + Unit
)

// unit is the service: it writes nowhere, and is back five seconds after it was killed.
const unit = `[Unit]
Description=The lab's little application
After=network.target

[Service]
ExecStart=` + programPath + ` --listen :%d --key-file %%d/key --unready-file ` + UnreadyFile + ` --database-password-file %%d/database-password
LoadCredential=key:` + keyPath + `
LoadCredential=database-password:` + passwordPath + `
DynamicUser=yes
ProtectSystem=strict
PrivateTmp=yes
NoNewPrivileges=yes
Restart=always
RestartSec=5

[Install]
WantedBy=multi-user.target
`

// put writes standard input to a file when its content differs, and says so. Nobody can read it before it has its mode.
const put = `set -eu
umask 077
mkdir -p "$(dirname "$1")"
chmod "$3" "$(dirname "$1")"
cat >"$1.new"
if cmp -s "$1.new" "$1"; then rm "$1.new"; else chmod "$2" "$1.new"; mv "$1.new" "$1"; echo changed; fi`

// Command makes a command that runs as root on a node.
type Command func(ctx context.Context, argv ...string) (*exec.Cmd, error)

// Install puts the application on a node and starts it, also at every boot. Program is its file on this machine, key is what signs
// sessions: nodes that serve the same hostname have the same. Password is that of the database's user, empty without a database. Where all of it is as it should be nothing is interrupted.
func Install(ctx context.Context, node Command, program string, key []byte, password string) error {
	binary, err := os.ReadFile(program)
	if err != nil {
		return fmt.Errorf("install the application: %w", err)
	}
	changed := false
	for _, file := range []struct {
		path      string
		mode, dir os.FileMode
		content   []byte
	}{
		{programPath, 0o755, 0o755, binary},
		{keyPath, 0o600, 0o700, key},
		{passwordPath, 0o600, 0o700, []byte(password)},
		{unitPath, 0o644, 0o755, fmt.Appendf(nil, unit, Port)},
	} {
		cmd, err := node(ctx, "sh", "-c", put, "sh", file.path, octal(file.mode), octal(file.dir))
		if err != nil {
			return fmt.Errorf("install the application: %w", err)
		}
		cmd.Stdin = bytes.NewReader(file.content)
		out, err := run(cmd)
		if err != nil {
			return fmt.Errorf("install the application: write %s: %w", path.Base(file.path), err)
		}
		changed = changed || strings.TrimSpace(out) == "changed"
	}
	start := "systemctl enable --quiet --now " + Unit
	if changed {
		start = "systemctl daemon-reload && systemctl enable --quiet " + Unit + " && systemctl restart " + Unit
	}
	cmd, err := node(ctx, "sh", "-c", start)
	if err != nil {
		return fmt.Errorf("start the application: %w", err)
	}
	if _, err := run(cmd); err != nil {
		return fmt.Errorf("start the application: %w", err)
	}
	return nil
}

func octal(mode os.FileMode) string { return strconv.FormatUint(uint64(mode), 8) }

// run runs a command and returns its standard output; what it says on standard error is in the error.
func run(cmd *exec.Cmd) (string, error) {
	var out, complaint strings.Builder
	cmd.Stdout, cmd.Stderr = &out, &complaint
	if err := cmd.Run(); err != nil {
		return "", fmt.Errorf("%w: %s", err, strings.TrimSpace(complaint.String()))
	}
	return out.String(), nil
}
