package adoption

import (
	"bytes"
	"context"
	"crypto/sha256"
	"debug/elf"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"strings"
)

// Paths on the machine; the agent's contract.
const (
	binaryPath  = "/usr/local/bin/atolld"
	payloadPath = "/etc/atoll/first-boot.json"
	joinPath    = "/var/lib/atoll/join.json"
)

// inspectAgent completes the facts with what is there of the agent.
func (m *Machine) inspectAgent(ctx context.Context, f Facts) (Facts, error) {
	out, err := m.run(ctx, "look for the agent", "if test -e "+binaryPath+"; then sha256sum "+binaryPath+"; fi", nil)
	if err != nil {
		return f, err
	}
	if fields := strings.Fields(out); len(fields) > 0 {
		f.AgentSum = fields[0]
	}
	joined, err := m.Joined(ctx)
	f.Joined = joined
	return f, err
}

// Joined returns what the machine has joined as, nil when it is no node.
func (m *Machine) Joined(ctx context.Context) (*Membership, error) {
	out, err := m.run(ctx, "look for a membership", "if test -e "+joinPath+"; then cat "+joinPath+"; fi", nil)
	if err != nil || strings.TrimSpace(out) == "" {
		return nil, err
	}
	var j Membership
	if err := json.Unmarshal([]byte(out), &j); err != nil {
		return nil, &CommandError{What: "look for a membership", Err: fmt.Errorf("read %s: %w", joinPath, err)}
	}
	return &j, nil
}

// Install puts the agent onto the machine, unless the same is there already. The program appears whole or not at all.
// When no program is configured, an agent that is there (from an image) is left as it is. Before is called when there is
// something to upload, before anything is: after an error nobody knows what arrived.
func (m *Machine) Install(ctx context.Context, c Config, f Facts, before func() error) error {
	if c.Binary == "" {
		if f.AgentSum != "" {
			return nil
		}
		return &BinaryError{Arch: f.Arch}
	}
	path := strings.ReplaceAll(c.Binary, "{arch}", f.Arch)
	if err := checkBinary(path, f.Arch); err != nil {
		return &BinaryError{Path: path, Arch: f.Arch, Err: err}
	}
	file, err := os.Open(path)
	if err != nil {
		return &BinaryError{Path: path, Arch: f.Arch, Err: err}
	}
	defer func() { _ = file.Close() }() // only read
	h := sha256.New()
	if _, err := io.Copy(h, file); err != nil {
		return &BinaryError{Path: path, Arch: f.Arch, Err: err}
	}
	sum := hex.EncodeToString(h.Sum(nil))
	if sum == f.AgentSum {
		return nil
	}
	if _, err := file.Seek(0, io.SeekStart); err != nil {
		return &BinaryError{Path: path, Arch: f.Arch, Err: err}
	}
	if err := before(); err != nil {
		return err
	}
	const script = `set -e
mkdir -p /usr/local/bin
new=$(mktemp /usr/local/bin/.atolld.XXXXXX)
trap 'rm -f "$new"' EXIT
cat >"$new"
echo "%s  $new" | sha256sum -c --status || { echo "the agent arrived damaged" >&2; exit 1; }
chmod 0755 "$new"
sync "$new"
mv -f "$new" %s`
	_, err = m.run(ctx, "upload the agent", fmt.Sprintf(script, sum, binaryPath), file)
	return err
}

// checkBinary tells whether the program is made for the machine.
func checkBinary(path, arch string) error {
	f, err := elf.Open(path)
	var format *elf.FormatError
	if errors.As(err, &format) {
		return errors.New("it is not a Linux program")
	}
	if err != nil {
		return err
	}
	defer func() { _ = f.Close() }() // only read
	want := map[string]elf.Machine{"amd64": elf.EM_X86_64, "arm64": elf.EM_AARCH64}[arch]
	if f.Machine != want {
		return fmt.Errorf("it is made for %s", f.Machine)
	}
	return nil
}

// Start hands the payload over and starts the agent. The payload goes through standard input into a file that only root
// reads; the agent removes it once it has joined.
func (m *Machine) Start(ctx context.Context, payload []byte) error {
	const script = `set -e
umask 077
mkdir -p -m 0755 /etc/atoll
new=$(mktemp /etc/atoll/.first-boot.XXXXXX)
trap 'rm -f "$new"' EXIT
cat >"$new"
sync "$new"
mv -f "$new" ` + payloadPath
	if _, err := m.run(ctx, "hand over the first-boot payload", script, bytes.NewReader(payload)); err != nil {
		return err
	}
	_, err := m.run(ctx, "start the agent", binaryPath+" install --start", nil)
	return err
}

// Uninstall takes the agent off the machine, with everything that it made. A payload that was never used is removed too, and
// what an upload that broke off has left.
func (m *Machine) Uninstall(ctx context.Context) error {
	_, err := m.run(ctx, "uninstall the agent",
		"rm -f "+payloadPath+" /etc/atoll/.first-boot.?????? /usr/local/bin/.atolld.??????; if test -x "+binaryPath+"; then "+binaryPath+" uninstall --purge; fi", nil)
	return err
}
