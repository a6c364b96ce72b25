//go:build linux

package nodes

import (
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"strings"
)

// MirrorVariable overrides the mirror that apt's own configuration names.
const MirrorVariable = "ATOLL_DEBIAN_MIRROR"

// ErrNoMirror means that neither apt's configuration nor the environment names a Debian mirror.
var ErrNoMirror = errors.New("no Debian mirror found in apt's configuration: run apt-get update, or set " + MirrorVariable)

// targetFormat is what apt is asked to print about each package index it is configured for.
const targetFormat = "$(ORIGIN)\t$(LABEL)\t$(COMPONENT)\t$(RELEASE)\t$(REPO_URI)"

// mirror returns the URI of the Debian archive that this machine's apt uses.
func mirror(ctx context.Context) (string, error) {
	if uri := os.Getenv(MirrorVariable); uri != "" {
		return uri, nil
	}
	out, err := exec.CommandContext(ctx, "apt-get", "indextargets", "--format", targetFormat, "Created-By: Packages").Output()
	if err != nil {
		return "", fmt.Errorf("ask apt for its mirrors: %w", err)
	}
	return pickMirror(string(out))
}

// pickMirror prefers the archive that calls itself Debian. Before the first apt-get update nothing has a name yet; then
// the first archive that is neither security nor updates is the main one.
func pickMirror(targets string) (string, error) {
	unnamed := ""
	for line := range strings.Lines(targets) {
		f := strings.Split(strings.TrimRight(line, "\n"), "\t")
		if len(f) != 5 || f[2] != "main" || f[4] == "" {
			continue
		}
		origin, label, release, uri := f[0], f[1], f[3], f[4]
		switch {
		case origin == "Debian" && label == "Debian":
			return uri, nil
		case (origin == "" || strings.HasPrefix(origin, "$(")) && unnamed == "" && !strings.Contains(release, "-"):
			unnamed = uri
		}
	}
	if unnamed == "" {
		return "", ErrNoMirror
	}
	return unnamed, nil
}

// transport returns apt's own settings for fetching (proxies, certificates) as a configuration file: mmdebstrap runs apt
// with a configuration of its own, and a proxy may carry a password, which must not become a process argument.
func transport(ctx context.Context) (string, error) {
	out, err := exec.CommandContext(ctx, "apt-config", "dump", "--format", "%F \"%v\";%n", "Acquire").Output()
	if err != nil {
		return "", fmt.Errorf("read apt's configuration: %w", err)
	}
	return pickTransport(string(out)), nil
}

func pickTransport(dump string) string {
	var b strings.Builder
	for line := range strings.Lines(dump) {
		key, value, ok := strings.Cut(line, " ")
		lower := strings.ToLower(key)
		if !ok || strings.TrimSpace(value) == `"";` {
			continue
		}
		if strings.HasPrefix(lower, "acquire::http::") || strings.HasPrefix(lower, "acquire::https::") {
			b.WriteString(line)
		}
	}
	return b.String()
}
