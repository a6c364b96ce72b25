//go:build linux

package provisiontest_test

import (
	"context"
	"net/http"
	"net/http/httptest"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"testing"
)

// moment is the snapshot that the archive has.
const moment = "20261101T000000Z"

// archive stands for Debian's archive, for a service that has snapshots of it, and for a vendor's archive. What it gives comes
// from the archive that this machine's apt has.
type archive struct {
	url string
	// of the real archives, without a slash at the end
	debian, security string
	dir              string

	mu      sync.Mutex
	asked   []string
	fetched map[string]*sync.Once
}

func newArchive(t *testing.T) *archive {
	t.Helper()
	a := &archive{dir: t.TempDir(), fetched: map[string]*sync.Once{}}
	a.debian = firstOf(os.Getenv("ATOLL_DEBIAN_MIRROR"), ofApt(t, "Debian"))
	a.security = firstOf(os.Getenv("ATOLL_SECURITY_MIRROR"), ofApt(t, "Debian-Security"), a.debian+"-security")
	if a.debian == "" {
		t.Fatal("this machine's apt names no Debian archive: run apt-get update, or set ATOLL_DEBIAN_MIRROR")
	}
	server := httptest.NewServer(a)
	t.Cleanup(server.Close)
	a.url = server.URL
	return a
}

// firstOf returns the first address that there is.
func firstOf(addresses ...string) string {
	for _, a := range addresses {
		if a = strings.TrimSuffix(a, "/"); a != "" && a != "-security" {
			return a
		}
	}
	return ""
}

// ofApt returns the address from which this machine's apt has an archive of Debian.
func ofApt(t *testing.T, label string) string {
	t.Helper()
	out, err := exec.CommandContext(t.Context(), "apt-get", "indextargets", "--format", "$(ORIGIN)|$(LABEL)|$(COMPONENT)|$(REPO_URI)", "Created-By: Packages").Output()
	if err != nil {
		t.Fatalf("ask apt for its mirrors: %v", err)
	}
	for line := range strings.Lines(string(out)) {
		if uri, ok := strings.CutPrefix(strings.TrimSpace(line), "Debian|"+label+"|main|"); ok {
			return uri
		}
	}
	return ""
}

// ServeHTTP answers apt.
func (a *archive) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	a.mu.Lock()
	a.asked = append(a.asked, r.URL.Path)
	a.mu.Unlock()
	path := strings.TrimPrefix(r.URL.Path, "/")
	for prefix, mirror := range map[string]string{
		"debian/": a.debian, "debian-security/": a.security,
		"snapshot/debian/" + moment + "/": a.debian, "snapshot/debian-security/" + moment + "/": a.security,
	} {
		if rest, ok := strings.CutPrefix(path, prefix); ok {
			http.ServeFile(w, r, a.fetch(r.Context(), mirror+"/"+rest))
			return
		}
	}
	http.NotFound(w, r)
}

// fetch returns the path of a copy, which is not there when the archive has no such file. apt knows this machine's way to it.
func (a *archive) fetch(ctx context.Context, uri string) string {
	copied := filepath.Join(a.dir, strings.NewReplacer("/", "_", ":", "_").Replace(uri))
	a.mu.Lock()
	once := a.fetched[uri]
	if once == nil {
		once = &sync.Once{}
		a.fetched[uri] = once
	}
	a.mu.Unlock()
	once.Do(func() {
		helper := exec.CommandContext(context.WithoutCancel(ctx), "/usr/lib/apt/apt-helper", "-qq", "-o", "APT::Sandbox::User=root", "download-file", uri, copied)
		if helper.Run() != nil {
			_ = os.Remove(copied)
		}
	})
	return copied
}

// seen returns and forgets what apt has asked for.
func (a *archive) seen() []string {
	a.mu.Lock()
	defer a.mu.Unlock()
	asked := a.asked
	a.asked = nil
	return asked
}
