package provider_test

import (
	"bytes"
	"compress/gzip"
	"crypto/sha256"
	"encoding/json"
	"fmt"
	"math/rand/v2"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/atollhq/terraform-provider-atoll/internal/lab/linode"
	"github.com/atollhq/terraform-provider-atoll/internal/nodeimage"
	"github.com/atollhq/terraform-provider-atoll/internal/provider/operator"
	"github.com/atollhq/terraform-provider-atoll/internal/spec"
)

// builtImage is a folder in which an image was built: small, but whole by its manifest.
type builtImage struct{ dir string }

// manifest is the path of the newest manifest, file that of the file for Linode.
func (b builtImage) manifest() string { return filepath.Join(b.dir, nodeimage.CurrentFile) }
func (b builtImage) file() string     { return filepath.Join(b.dir, "node.linode.img.gz") }

// facts are those of an image that fits.
func facts(version string) nodeimage.Facts {
	return nodeimage.Facts{
		Format: nodeimage.Format, Version: version, Wire: spec.WireVersion, Architecture: "amd64", Debian: "trixie",
		Built: time.Date(2026, time.November, 21, 6, 0, 0, 0, time.UTC), Packages: 287,
	}
}

// build writes an image with the facts. Content is what it holds beside the marks of a file system.
func (b builtImage) build(t *testing.T, f nodeimage.Facts, content string) {
	t.Helper()
	b.write(t, fileSystem(content))
	names := map[nodeimage.Kind]string{nodeimage.KindLinode: filepath.Base(b.file())}
	if _, _, err := nodeimage.Write(t.Context(), b.dir, f, names); err != nil {
		t.Fatal(err)
	}
}

// write writes the file alone, compressed.
func (b builtImage) write(t *testing.T, raw []byte) {
	t.Helper()
	if err := os.MkdirAll(b.dir, 0o755); err != nil {
		t.Fatal(err)
	}
	var out bytes.Buffer
	z := gzip.NewWriter(&out)
	if _, err := z.Write(raw); err != nil {
		t.Fatal(err)
	}
	if err := z.Close(); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(b.file(), out.Bytes(), 0o600); err != nil {
		t.Fatal(err)
	}
}

// fileSystem returns what passes for an ext4 file system: its magic number, and noise.
func fileSystem(content string) []byte {
	raw := make([]byte, 400_000)
	noise := rand.NewChaCha8(sha256.Sum256([]byte(content)))
	_, _ = noise.Read(raw[4096:])
	raw[1024+56], raw[1024+57] = 0x53, 0xef
	return raw
}

func newImage(t *testing.T, version string) builtImage {
	t.Helper()
	b := builtImage{t.TempDir()}
	b.build(t, facts(version), t.Name())
	return b
}

// config is a configuration of the image with more arguments.
func (b builtImage) config(source, more string) string {
	return fmt.Sprintf(`
resource "atoll_image" "node" {
  source = %q
  region = "ap-south"
  %s
}
`, source, more)
}

// ofImage is a configuration of a node that is made of the image.
func ofImage(name string) string {
	return strings.Replace(linodeNode(name, ""), `image = "private/1"`, `image = atoll_image.node.id`, 1)
}

// cloudImage is what the account shows of an image.
type cloudImage struct {
	ID     string   `json:"id"`
	Label  string   `json:"label"`
	Status string   `json:"status"`
	Tags   []string `json:"tags"`

	Regions []imageCopy `json:"regions"`
}

type imageCopy struct {
	Region string `json:"region"`
	Status string `json:"status"`
}

// images returns the account's own images but the one that it begins with, the oldest first.
func (w *world) images(t *testing.T) []cloudImage {
	t.Helper()
	var out []cloudImage
	// The snapshot needs no request, of which the account allows 20 a minute.
	data, err := w.cloud.Snapshot()
	if err != nil {
		t.Fatal(err)
	}
	var state struct {
		Images []cloudImage `json:"images"`
	}
	if err := json.Unmarshal(data, &state); err != nil {
		t.Fatal(err)
	}
	for _, image := range state.Images {
		if strings.HasPrefix(image.ID, "private/") && image.ID != "private/1" {
			out = append(out, image)
		}
	}
	return out
}

// noImages fails the test when it ends with images in the account.
func (w *world) noImages(t *testing.T) {
	t.Helper()
	if left := w.images(t); len(left) != 0 {
		t.Errorf("images are left: %+v", left)
	}
}

// imageWorld is a world with short pauses of uploads, which counts them.
type imageWorld struct {
	*world
	uploads atomic.Int32
}

func newImageWorld(t *testing.T) *imageWorld {
	t.Helper()
	w := &imageWorld{world: newWorld(t)}
	w.adjust = func(c *operator.Config) {
		c.Linode.Beat, c.Linode.Settle, c.Linode.Stall = 100*time.Millisecond, 100*time.Millisecond, time.Second
	}
	front := httptest.NewServer(http.HandlerFunc(func(rw http.ResponseWriter, r *http.Request) {
		if strings.HasPrefix(r.URL.Path, linode.UploadPath) {
			w.uploads.Add(1)
		}
		w.cloud.ServeHTTP(rw, r)
	}))
	w.env["LINODE_URL"] = front.URL
	t.Cleanup(func() {
		front.CloseClientConnections()
		w.cloud.Close() // ends what hangs
		front.Close()
	})
	return w
}

// demandUploads fails unless content was sent so often.
func (w *imageWorld) demandUploads(t *testing.T, want int32) {
	t.Helper()
	if got := w.uploads.Load(); got != want {
		t.Errorf("content was sent %d times, want %d", got, want)
	}
}

// whole fails unless every image holds what was uploaded and nobody's upload is noted on it any more.
func (w *world) whole(t *testing.T) {
	t.Helper()
	for _, image := range w.images(t) {
		content, ok := w.cloud.Content(image.ID)
		if !ok || content.Problem != "" || !slices.Contains(image.Tags, nodeimage.ContentTag(content.SHA256)) {
			t.Errorf("image %+v holds %+v", image, content)
		}
		for _, tag := range image.Tags {
			if strings.HasPrefix(tag, "atoll-upload:") {
				t.Errorf("image %s has the tag %s", image.ID, tag)
			}
		}
	}
}

// settled waits until no copy of an image comes or goes any more.
func (w *world) settled(t *testing.T) {
	t.Helper()
	tick := time.NewTicker(20 * time.Millisecond)
	defer tick.Stop()
	for {
		busy := false
		for _, image := range w.images(t) {
			busy = busy || slices.ContainsFunc(image.Regions, func(r imageCopy) bool { return r.Status != "available" })
		}
		if !busy {
			return
		}
		select {
		case <-tick.C:
		case <-t.Context().Done():
			t.Fatal("the copies of the images do not settle")
		}
	}
}

// place brings an image into one region, as somebody else with the account's token would.
func (w *world) place(t *testing.T, id, region string) {
	t.Helper()
	path := "/v4/images/" + strings.ReplaceAll(id, "/", "%2F") + "/regions"
	r := httptest.NewRequestWithContext(t.Context(), http.MethodPost, path, strings.NewReader(`{"regions":["`+region+`"]}`))
	r.Header.Set("Content-Type", "application/json")
	w.send(t, r)
}
