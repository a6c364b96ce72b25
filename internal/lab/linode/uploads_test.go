package linode_test

import (
	"bytes"
	"compress/gzip"
	"context"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"io"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/linode/linodego"

	"github.com/atollhq/terraform-provider-atoll/internal/lab/await"
	"github.com/atollhq/terraform-provider-atoll/internal/lab/linode"
)

// fileSystem returns an ext4 file system of that many MiB.
func fileSystem(t *testing.T, size string) []byte {
	t.Helper()
	path := filepath.Join(t.TempDir(), "root.img")
	tool(t, "mke2fs", "-q", "-t", "ext4", "-L", "rootfs", path, size)
	data, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	return data
}

// tool runs a program of the Debian packages e2fsprogs and qemu-utils.
func tool(t *testing.T, name string, args ...string) {
	t.Helper()
	if runtime.GOOS != "linux" {
		t.Skipf("NOT RUN: %s is needed, which is there on Linux", name)
	}
	t.Setenv("PATH", os.Getenv("PATH")+":/usr/sbin:/sbin")
	if out, err := exec.CommandContext(t.Context(), name, args...).CombinedOutput(); err != nil {
		t.Fatalf("%s (internal/tools/need packages installs it): %v: %s", name, err, out)
	}
}

func gzipped(t *testing.T, data []byte) []byte {
	t.Helper()
	var out bytes.Buffer
	w := gzip.NewWriter(&out)
	_, err := w.Write(data)
	if err := errors.Join(err, w.Close()); err != nil {
		t.Fatal(err)
	}
	return out.Bytes()
}

// announce asks for an upload of an image with that label.
func announce(t *testing.T, api *linodego.Client, label string) (*linodego.Image, string) {
	t.Helper()
	image, to, err := api.CreateImageUpload(t.Context(), linodego.ImageCreateUploadOptions{
		Region: "ap-south", Label: label, Description: "node 1.0", CloudInit: true, Tags: &[]string{"version-1", "atoll"},
	})
	if err != nil {
		t.Fatal(err)
	}
	return image, to
}

// put uploads and returns the status and the body of the answer.
func put(ctx context.Context, t *testing.T, to string, body io.Reader, length int64, contentType string) (int, string, error) {
	t.Helper()
	r, err := http.NewRequestWithContext(ctx, http.MethodPut, to, body)
	if err != nil {
		t.Fatal(err)
	}
	r.ContentLength = length
	r.Header.Set("Content-Type", contentType)
	r.Header.Set("Expect", "100-continue") // so that a refusal comes through whatever the length
	client := &http.Client{Transport: &http.Transport{DisableKeepAlives: true, ExpectContinueTimeout: 10 * time.Second}}
	response, err := client.Do(r)
	if err != nil {
		return 0, "", err
	}
	text, err := io.ReadAll(response.Body)
	if err := errors.Join(err, response.Body.Close()); err != nil {
		return 0, "", err
	}
	return response.StatusCode, string(text), nil
}

const octets = "application/octet-stream"

// upload sends all of an image and expects success.
func upload(t *testing.T, to string, data []byte) {
	t.Helper()
	if status, text, err := put(t.Context(), t, to, bytes.NewReader(data), int64(len(data)), octets); err != nil || status != 200 {
		t.Fatalf("upload: status %d, error %v: %s", status, err, text)
	}
}

func uploadEvent(t *testing.T, api *linodego.Client) linodego.Event {
	t.Helper()
	events, err := api.ListEvents(t.Context(), linodego.NewListOptions(0, `{"action":"image_upload","+order_by":"created","+order":"desc"}`))
	if err != nil || len(events) == 0 {
		t.Fatalf("%d events of uploads, error %v", len(events), err)
	}
	return events[0]
}

func TestUploadLife(t *testing.T) {
	for name, machines := range map[string]linode.Machines{"in memory": nil, "machines": &bench{}} {
		t.Run(name, func(t *testing.T) {
			ctx, s := t.Context(), &linode.Server{Machines: machines, ImageDir: t.TempDir()}
			api := serve(t, s)
			raw := fileSystem(t, "7M")
			data := gzipped(t, raw)

			image, to := announce(t, api, "node 1")
			if image.Status != linodego.ImageStatusPendingUpload || image.Size != 0 || len(image.Regions) != 0 {
				t.Errorf("announced image: %+v", image)
			}
			if diff := cmp.Diff([]string{"cloud-init"}, image.Capabilities); diff != "" {
				t.Errorf("capabilities (-want +got)\n%s", diff)
			}
			options := node("early")
			options.Image = image.ID
			if _, err := api.CreateInstance(ctx, options); status(err) != 400 {
				t.Errorf("an instance of an image without content: error %v", err)
			}
			upload(t, to, data)
			image, err := api.WaitForImageStatus(ctx, image.ID, linodego.ImageStatusAvailable, 10)
			if err != nil {
				t.Fatal(err)
			}
			if image.Size != 7 || image.TotalSize != 7 || image.Description != "node 1.0" || len(image.Regions) != 1 ||
				image.Regions[0] != (linodego.ImageRegion{Region: "ap-south", Status: "available"}) {
				t.Errorf("image %+v", image)
			}
			if e := uploadEvent(t, api); e.Status != linodego.EventFinished || e.Entity == nil || e.Entity.Label != "node 1" {
				t.Errorf("event %+v", e)
			}
			content, ok := s.Content(image.ID)
			if sum := sha256.Sum256(data); !ok || content.SHA256 != hex.EncodeToString(sum[:]) || content.Bytes != int64(len(data)) {
				t.Errorf("content %+v", content)
			}
			path := filepath.Join(s.ImageDir, content.Name)
			if got, err := os.ReadFile(path); err != nil || !bytes.Equal(got, raw) {
				t.Errorf("the stored file has %d bytes and differs from the image of %d, error %v", len(got), len(raw), err)
			}
			if status, text, err := put(ctx, t, to, bytes.NewReader(data), int64(len(data)), octets); err != nil || status != 403 {
				t.Errorf("a second upload: status %d, error %v: %s", status, err, text)
			}

			options.Label, options.Image = "node1", image.ID
			if _, err := api.CreateInstance(ctx, options); err != nil {
				t.Fatal(err)
			}
			if b, ok := machines.(*bench); ok {
				if got := b.made[0].ImageFile; got != path {
					t.Errorf("the machine is made of %q, want %q", got, path)
				}
			}
			if err := api.DeleteImage(ctx, image.ID); err != nil {
				t.Fatal(err)
			}
			if _, err := os.Stat(path); !errors.Is(err, os.ErrNotExist) {
				t.Errorf("the file of a deleted image: %v", err)
			}
			if _, err := api.GetImage(ctx, image.ID); !linodego.IsNotFound(err) {
				t.Errorf("a deleted image: error %v", err)
			}
		})
	}
}

// TestUploadsThatCannotBeAnImage end as those of the live API do: taken, and then gone with an event that says why.
func TestUploadsThatCannotBeAnImage(t *testing.T) {
	raw := fileSystem(t, "7M")
	whole := gzipped(t, raw)
	tests := map[string]struct {
		data  []byte
		quota linode.Quota
		want  string
	}{
		"not gzip":         {raw, linode.Quota{}, "gzip"},
		"cut off":          {whole[:len(whole)-20], linode.Quota{}, "gzip"},
		"damaged":          {append(whole[:len(whole)-8:len(whole)-8], 0, 0, 0, 0, 0, 0, 0, 0), linode.Quota{}, "gzip"},
		"too large inside": {whole, linode.Quota{Uncompressed: 6}, "maximum size of 6"},
	}
	for name, test := range tests {
		t.Run(name, func(t *testing.T) {
			ctx, s := t.Context(), &linode.Server{Quota: test.quota, ImageDir: t.TempDir()}
			api := serve(t, s)
			image, to := announce(t, api, "node")
			upload(t, to, test.data)
			if _, err := api.WaitForImageStatus(ctx, image.ID, linodego.ImageStatusAvailable, 10); !linodego.IsNotFound(err) {
				t.Errorf("error %v, want that the image is gone", err)
			}
			if e := uploadEvent(t, api); e.Status != linodego.EventFailed || !strings.Contains(e.Message, test.want) {
				t.Errorf("event %s %q, want failed, …%s…", e.Status, e.Message, test.want)
			}
			if left, err := os.ReadDir(s.ImageDir); err != nil || len(left) != 0 {
				t.Errorf("left in the folder: %v, error %v", left, err)
			}
		})
	}
}

// TestAnyBytesAreTaken: the vendor's client library uploads a few bytes of text in its tests against the live API, and the
// image becomes available with a size of 1.
func TestAnyBytesAreTaken(t *testing.T) {
	api := serve(t, &linode.Server{})
	image, to := announce(t, api, "text")
	upload(t, to, gzipped(t, []byte("no file system")))
	image, err := api.WaitForImageStatus(t.Context(), image.ID, linodego.ImageStatusAvailable, 10)
	if err != nil || image.Size != 1 {
		t.Errorf("image %+v, error %v", image, err)
	}
}

func TestUploadAddressIsSigned(t *testing.T) {
	data := gzipped(t, []byte("x"))
	length := int64(len(data))
	tests := map[string]struct {
		change func(string) string
		length int64
		kind   string
		status int
		code   string
	}{
		"another signature":  {func(to string) string { return strings.Replace(to, "Signature=", "Signature=A", 1) }, length, octets, 403, "SignatureDoesNotMatch"},
		"a longer life":      {func(to string) string { return strings.Replace(to, "Expires=", "Expires=9", 1) }, length, octets, 403, "SignatureDoesNotMatch"},
		"another type":       {func(to string) string { return to }, length, "application/gzip", 403, "SignatureDoesNotMatch"},
		"another image":      {func(to string) string { return strings.Replace(to, "uploads/", "uploads/1", 1) }, length, octets, 403, "AccessDenied"},
		"no length":          {func(to string) string { return to }, -1, octets, 411, "MissingContentLength"},
		"larger than 5 GB":   {func(to string) string { return to }, 5<<30 + 1, octets, 400, "EntityTooLarge"},
		"nothing wrong here": {func(to string) string { return to }, length, octets, 200, ""},
	}
	for name, test := range tests {
		t.Run(name, func(t *testing.T) {
			api := serve(t, &linode.Server{})
			_, to := announce(t, api, "node")
			body := io.Reader(bytes.NewReader(data))
			if test.length > length {
				body = io.MultiReader(body, neverEnding{})
			}
			status, text, err := put(t.Context(), t, test.change(to), body, test.length, test.kind)
			if err != nil || status != test.status || !strings.Contains(text, test.code) {
				t.Errorf("status %d, error %v: %s; want %d %s", status, err, text, test.status, test.code)
			}
		})
	}
}

type neverEnding struct{}

func (neverEnding) Read(data []byte) (int, error) { return len(data), nil }

func TestUploadExpires(t *testing.T) {
	now := time.Date(2026, 11, 21, 12, 0, 0, 0, time.UTC)
	s := &linode.Server{Now: func() time.Time { return now }}
	api := serve(t, s)
	image, to := announce(t, api, "late")
	now = now.Add(24*time.Hour + time.Second)
	data := gzipped(t, []byte("x"))
	if status, text, err := put(t.Context(), t, to, bytes.NewReader(data), int64(len(data)), octets); err != nil || status != 403 {
		t.Errorf("status %d, error %v: %s, want 403", status, err, text)
	}
	if _, err := api.GetImage(t.Context(), image.ID); !linodego.IsNotFound(err) {
		t.Errorf("error %v, want that the image is gone", err)
	}
}

func TestUploadFaults(t *testing.T) {
	data := gzipped(t, fileSystem(t, "7M"))
	half := int64(len(data) / 2)
	path := linode.Fault{Method: http.MethodPut, PathPrefix: linode.UploadPath}
	with := func(change func(*linode.Fault)) linode.Fault {
		f := path
		change(&f)
		return f
	}
	t.Run("cut in the middle, then once more", func(t *testing.T) {
		ctx, s := t.Context(), &linode.Server{ImageDir: t.TempDir()}
		api := serve(t, s)
		image, to := announce(t, api, "node")
		s.Inject(with(func(f *linode.Fault) { f.CutAfter = half }))
		if status, text, err := put(ctx, t, to, bytes.NewReader(data), int64(len(data)), octets); err == nil {
			t.Errorf("an answer over a cut connection: %d %s", status, text)
		}
		got, err := api.GetImage(ctx, image.ID)
		if err != nil || got.Status != linodego.ImageStatusPendingUpload {
			t.Errorf("image %+v, error %v, want it to wait", got, err)
		}
		await.True(t, "half an upload is removed", patience, func() bool {
			left, err := os.ReadDir(s.ImageDir)
			return err == nil && len(left) == 0
		})
		upload(t, to, data)
		if _, err := api.WaitForImageStatus(ctx, image.ID, linodego.ImageStatusAvailable, 10); err != nil {
			t.Error(err)
		}
	})
	t.Run("the client goes away", func(t *testing.T) {
		s := &linode.Server{ImageDir: t.TempDir()}
		api := serve(t, s)
		image, to := announce(t, api, "node")
		ctx, cancel := context.WithCancel(t.Context())
		body := io.MultiReader(bytes.NewReader(data[:half]), readerFunc(func([]byte) (int, error) {
			cancel()
			return 0, ctx.Err()
		}))
		if _, _, err := put(ctx, t, to, body, int64(len(data)), octets); err == nil {
			t.Error("no error")
		}
		got, err := api.GetImage(t.Context(), image.ID)
		if err != nil || got.Status != linodego.ImageStatusPendingUpload {
			t.Errorf("image %+v, error %v, want it to wait", got, err)
		}
	})
	t.Run("slow", func(t *testing.T) {
		ctx, s := t.Context(), &linode.Server{}
		api := serve(t, s)
		image, to := announce(t, api, "node")
		s.Inject(with(func(f *linode.Fault) { f.BytesPerSecond = int64(len(data)) * 3 }))
		began := time.Now()
		upload(t, to, data)
		if took := time.Since(began); took < 200*time.Millisecond {
			t.Errorf("took %v", took)
		}
		if _, err := api.WaitForImageStatus(ctx, image.ID, linodego.ImageStatusAvailable, 10); err != nil {
			t.Error(err)
		}
	})
	for status, code := range map[int]string{403: "AccessDenied", 500: "InternalError", 503: "SlowDown"} {
		t.Run(http.StatusText(status), func(t *testing.T) {
			ctx, s := t.Context(), &linode.Server{}
			api := serve(t, s)
			_, to := announce(t, api, "node")
			s.Inject(with(func(f *linode.Fault) { f.Status = status }))
			got, text, err := put(ctx, t, to, bytes.NewReader(data), int64(len(data)), octets)
			if err != nil || got != status || !strings.Contains(text, "<Code>"+code+"</Code>") {
				t.Errorf("status %d, error %v: %s", got, err, text)
			}
			upload(t, to, data)
		})
	}
	t.Run("stuck in creating", func(t *testing.T) {
		ctx, s := t.Context(), &linode.Server{}
		api := serve(t, s)
		image, to := announce(t, api, "node")
		s.Inject(with(func(f *linode.Fault) { f.Stuck = true }))
		upload(t, to, data)
		for range 10 {
			got, err := api.GetImage(ctx, image.ID)
			if err != nil || got.Status != linodego.ImageStatusCreating {
				t.Fatalf("image %+v, error %v", got, err)
			}
		}
		if err := api.DeleteImage(ctx, image.ID); err != nil {
			t.Error(err)
		}
		if e := uploadEvent(t, api); e.Status != linodego.EventFailed || e.Message != "Upload canceled." {
			t.Errorf("event %s %q", e.Status, e.Message)
		}
	})
	t.Run("processing fails", func(t *testing.T) {
		ctx, s := t.Context(), &linode.Server{}
		api := serve(t, s)
		image, to := announce(t, api, "node")
		s.Inject(with(func(f *linode.Fault) { f.FailJob = true }))
		upload(t, to, data)
		if _, err := api.WaitForImageStatus(ctx, image.ID, linodego.ImageStatusAvailable, 10); !linodego.IsNotFound(err) {
			t.Errorf("error %v, want that the image is gone", err)
		}
		if e := uploadEvent(t, api); e.Status != linodego.EventFailed {
			t.Errorf("event %s %q", e.Status, e.Message)
		}
	})
}

type readerFunc func([]byte) (int, error)

func (f readerFunc) Read(data []byte) (int, error) { return f(data) }
