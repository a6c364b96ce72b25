package linode_test

import (
	"bytes"
	"compress/gzip"
	"context"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"errors"
	"io"
	"math/rand/v2"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"runtime"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/atollhq/terraform-provider-atoll/internal/cloud/linode"
	emulated "github.com/atollhq/terraform-provider-atoll/internal/lab/linode"
)

const uploads = "/images/upload"

// imageFile writes a compressed file that nobody has uploaded before and returns what is to be done with it.
func imageFile(t *testing.T) linode.Upload {
	t.Helper()
	raw := make([]byte, 300_000)
	random := rand.NewChaCha8(sha256.Sum256([]byte(t.Name())))
	_, _ = random.Read(raw)
	in := linode.Upload{
		Path:   filepath.Join(t.TempDir(), "node.img.gz"),
		Region: "ap-south", Label: "atoll-node-0.1.0", Description: "a node", Tags: []string{"atoll-wire:1"}, Holder: linode.HolderTag + "one",
	}
	rewrite(&in, packed(raw))
	return in
}

func packed(raw []byte) []byte {
	var out bytes.Buffer
	z := gzip.NewWriter(&out)
	_, err := z.Write(raw)
	if err = errors.Join(err, z.Close()); err != nil {
		panic(err) // memory takes everything
	}
	return out.Bytes()
}

// quick shortens the pauses of uploads.
func quick(c *linode.Config) {
	c.Beat, c.Settle, c.Stall = 20*time.Millisecond, 100*time.Millisecond, 400*time.Millisecond
}

// images returns the account's images with the content.
func (c *cloud) images(t *testing.T, in linode.Upload) []linode.Image {
	t.Helper()
	list, err := c.client.TaggedImages(t.Context(), in.Mark)
	if err != nil {
		t.Fatal(err)
	}
	return list
}

// puts counts the uploads that have begun.
func (c *cloud) puts() int {
	c.mu.Lock()
	defer c.mu.Unlock()
	n := 0
	for call, times := range c.calls {
		if strings.HasPrefix(call, "PUT "+emulated.UploadPath) {
			n += times
		}
	}
	return n
}

// demandOne fails unless the account has exactly one image with the content, whole and without signs of its upload.
func (c *cloud) demandOne(t *testing.T, in linode.Upload) linode.Image {
	t.Helper()
	list := c.images(t, in)
	if len(list) != 1 || list[0].Status != linode.ImageAvailable {
		t.Fatalf("got images %+v, want one that is available", list)
	}
	content, ok := c.Content(list[0].ID)
	if !ok || content.SHA256 != in.SHA256 || content.Bytes != in.Size {
		t.Errorf("the image holds %+v, want %s", content, in.SHA256)
	}
	for _, tag := range list[0].Tags {
		if strings.HasPrefix(tag, "atoll-upload:") {
			t.Errorf("the tag %q is left", tag)
		}
	}
	return list[0]
}

// TestLifeOfAnImage uploads an image, finds it again, copies it, takes it back, shares it and lets it go.
func TestLifeOfAnImage(t *testing.T) {
	t.Parallel()
	c := newCloud(t, quick)
	in := imageFile(t)
	var seen []linode.Progress
	in.Progress = func(p linode.Progress) { seen = append(seen, p) }
	image, made, err := c.client.EnsureImage(t.Context(), in)
	if err != nil || !made {
		t.Fatalf("got made %v, error %v", made, err)
	}
	in.Progress = nil
	c.demandOne(t, in)
	for _, tag := range []string{in.Mark, "atoll-wire:1", in.Holder} {
		if !slices.Contains(image.Tags, tag) {
			t.Errorf("the image lacks the tag %s: %q", tag, image.Tags)
		}
	}
	if image.Label != in.Label || image.Description != in.Description || !image.In("ap-south") {
		t.Errorf("got %+v", image)
	}
	if !slices.ContainsFunc(seen, func(p linode.Progress) bool { return p.Phase == linode.PhaseUploading && p.Sent == in.Size }) {
		t.Errorf("no progress reached the end: %+v", seen)
	}

	other := in
	other.Label, other.Holder = "another", linode.HolderTag+"two"
	again, made, err := c.client.EnsureImage(t.Context(), other)
	if err != nil || made || again.ID != image.ID {
		t.Fatalf("got image %s, made %v, error %v; want %s", again.ID, made, err, image.ID)
	}
	if n := c.puts(); n != 1 {
		t.Errorf("the content was sent %d times", n)
	}

	placed, err := c.client.PlaceImage(t.Context(), image.ID, []string{"ap-south", "jp-osa"}, nil)
	if err != nil || !placed.In("ap-south") || !placed.In("jp-osa") {
		t.Fatalf("got %+v, error %v", placed, err)
	}
	if placed, err = c.client.PlaceImage(t.Context(), image.ID, []string{"jp-osa"}, nil); err != nil || placed.In("ap-south") || !placed.In("jp-osa") {
		t.Fatalf("got %+v, error %v", placed, err)
	}
	if placed, err = c.client.AddImageRegions(t.Context(), image.ID, []string{"ap-south"}, nil); err != nil || !placed.In("ap-south") || !placed.In("jp-osa") {
		t.Fatalf("got %+v, error %v", placed, err)
	}

	if left, err := c.client.ReleaseImage(t.Context(), image.ID, in.Holder, false); err != nil || !slices.Equal(left, []string{other.Holder}) {
		t.Fatalf("got %q, error %v", left, err)
	}
	c.demandOne(t, in)
	for range 2 { // the second time it is gone
		if left, err := c.client.ReleaseImage(t.Context(), image.ID, other.Holder, false); err != nil || len(left) != 0 {
			t.Fatalf("got %q, error %v", left, err)
		}
		if list := c.images(t, in); len(list) != 0 {
			t.Fatalf("got images %+v, want none", list)
		}
	}
}

// TestImageFaults uploads while something goes wrong for a while. Nothing is felt, and one whole image is there afterwards.
func TestImageFaults(t *testing.T) {
	t.Parallel()
	tests := map[string]emulated.Fault{
		"upload is cut":             {Method: http.MethodPut, PathPrefix: emulated.UploadPath, CutAfter: 150_000},
		"upload is cut three times": {Method: http.MethodPut, PathPrefix: emulated.UploadPath, CutAfter: 70_000, Times: 3},
		"upload hangs":              {Method: http.MethodPut, PathPrefix: emulated.UploadPath, Hang: true},
		"storage answers 500":       {Method: http.MethodPut, PathPrefix: emulated.UploadPath, Status: http.StatusInternalServerError},
		"storage answers 503":       {Method: http.MethodPut, PathPrefix: emulated.UploadPath, Status: http.StatusServiceUnavailable, RetryAfter: time.Second},
		"address is refused":        {Method: http.MethodPut, PathPrefix: emulated.UploadPath, Status: http.StatusForbidden},
		"upload's answer is lost":   {Method: http.MethodPut, PathPrefix: emulated.UploadPath, LoseAnswer: true},
		"address is lost":           {Method: http.MethodPost, Path: uploads, LoseAnswer: true},
		"announcement fails":        {Method: http.MethodPost, Path: uploads, Status: http.StatusBadGateway},
		"announcement is limited":   {Method: http.MethodPost, Path: uploads, Status: http.StatusTooManyRequests, RetryAfter: time.Second},
		"announcement hangs":        {Method: http.MethodPost, Path: uploads, Hang: true},
		"list fails":                {Method: http.MethodGet, Path: "/images", Status: http.StatusInternalServerError},
		"read fails":                {Method: http.MethodGet, PathPrefix: "/images/private", Status: http.StatusInternalServerError},
		"sign of life is refused":   {Method: http.MethodPut, PathPrefix: "/images/private", Status: http.StatusBadRequest},
		"answer of holding is lost": {Method: http.MethodPut, PathPrefix: "/images/private", Skip: 1, LoseAnswer: true},
	}
	for name, fault := range tests {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			c := newCloud(t, quick)
			c.Inject(fault)
			if fault.Method == http.MethodPut && fault.PathPrefix == "/images/private" {
				// A sign of life is given beside the upload, which could end sooner.
				c.Inject(emulated.Fault{Method: http.MethodPut, PathPrefix: emulated.UploadPath, Hang: true})
			}
			in := imageFile(t)
			image, made, err := c.client.EnsureImage(t.Context(), in)
			if err != nil || !made {
				t.Fatalf("got made %v, error %v", made, err)
			}
			if one := c.demandOne(t, in); one.ID != image.ID || !slices.Contains(one.Tags, in.Holder) {
				t.Errorf("got %s, the account has %+v", image.ID, one)
			}
			if c.PendingFaults() != 0 {
				t.Error("the fault has not happened")
			}
		})
	}
}

// TestImageRefusals uploads what cannot be. The error says why, and nothing is left.
func TestImageRefusals(t *testing.T) {
	t.Parallel()
	put := emulated.Fault{Method: http.MethodPut, PathPrefix: emulated.UploadPath, Times: -1}
	with := func(change func(*emulated.Fault)) func(*cloud, *linode.Upload) {
		return func(c *cloud, _ *linode.Upload) {
			f := put
			change(&f)
			c.Inject(f)
		}
	}
	tests := map[string]struct {
		change func(*cloud, *linode.Upload)
		want   []string
	}{
		"every address is refused": {
			with(func(f *emulated.Fault) { f.Status = http.StatusForbidden }),
			[]string{"HTTP 403", "AccessDenied"},
		},
		"always cut":      {with(func(f *emulated.Fault) { f.CutAfter = 100_000 }), []string{"5 tries", "bytes were sent"}},
		"always hangs":    {with(func(f *emulated.Fault) { f.Hang = true }), []string{"nothing more was taken"}},
		"cannot be made":  {with(func(f *emulated.Fault) { f.FailJob = true }), []string{"could not make image private/"}},
		"quota of images": {func(c *cloud, _ *linode.Upload) { c.Quota.Images = 1 }, []string{"Account Limit reached"}},
		"quota of space":  {func(c *cloud, _ *linode.Upload) { c.Quota.TotalMB = 1 }, []string{"Account Limit reached"}},
		"too large inside": {
			func(c *cloud, in *linode.Upload) { c.Quota.Uncompressed = 1; rewrite(in, packed(make([]byte, 2<<20))) },
			[]string{"Uncompressed image exceeds the maximum size"},
		},
		"not compressed": {func(_ *cloud, in *linode.Upload) { rewrite(in, []byte("not compressed")) }, []string{"not a valid gzip file"}},
		"wrong region":   {func(_ *cloud, in *linode.Upload) { in.Region = "nowhere" }, []string{"region"}},
		"changed before": {
			func(_ *cloud, in *linode.Upload) {
				sum := in.SHA256
				rewrite(in, []byte("shorter"))
				in.SHA256, in.Size = sum, 100
			},
			[]string{"the file has changed"},
		},
		"changed content": {
			func(_ *cloud, in *linode.Upload) { in.SHA256 = strings.Repeat("0", 64) },
			[]string{"the file has changed while it was uploaded"},
		},
		"no such file": {func(_ *cloud, in *linode.Upload) { in.Path += ".gone" }, []string{"no such file"}},
		"too large":    {func(_ *cloud, in *linode.Upload) { in.Size = linode.MaxImageUpload + 1 }, []string{"at most"}},
	}
	for name, tt := range tests {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			c := newCloud(t, quick)
			in := imageFile(t)
			tt.change(c, &in)
			_, _, err := c.client.EnsureImage(t.Context(), in)
			if err == nil {
				t.Fatal("got no error")
			}
			for _, want := range tt.want {
				if !strings.Contains(err.Error(), want) {
					t.Errorf("got error %q, want it to say %q", err, want)
				}
			}
			if strings.Contains(err.Error(), "Signature=") {
				t.Errorf("the error shows the upload address: %v", err)
			}
			if left := c.images(t, in); len(left) != 0 && name != "changed content" {
				t.Errorf("images are left: %+v", left)
			}
		})
	}
}

func rewrite(in *linode.Upload, data []byte) {
	if err := os.WriteFile(in.Path, data, 0o600); err != nil {
		panic(err) // it was written a moment ago
	}
	sum := sha256.Sum256(data)
	in.SHA256, in.Size = hex.EncodeToString(sum[:]), int64(len(data))
	in.Mark = "atoll-sha256:" + in.SHA256
}

// TestImageCannotBeCopied lets a copy fail for good, and the once that is asked again.
func TestImageCannotBeCopied(t *testing.T) {
	t.Parallel()
	for _, times := range []int{1, -1} {
		c := newCloud(t, quick)
		image, _, err := c.client.EnsureImage(t.Context(), imageFile(t))
		if err != nil {
			t.Fatal(err)
		}
		c.Inject(emulated.Fault{Method: http.MethodPost, PathPrefix: "/images/private", FailJob: true, Times: times})
		_, err = c.client.PlaceImage(t.Context(), image.ID, []string{"ap-south", "jp-osa"}, nil)
		if times == 1 && err != nil || times < 0 && !errors.Is(err, linode.ErrUnavailable) {
			t.Errorf("%d times: got %v", times, err)
		}
	}
}

// TestTwoUploadsAtOnce has several runs want one content. One sends it, all get the same image, and the last that lets go of
// it removes it.
func TestTwoUploadsAtOnce(t *testing.T) {
	t.Parallel()
	c := newCloud(t, quick)
	in := imageFile(t)
	var wg sync.WaitGroup
	ids := make([]string, 4)
	made := make([]bool, len(ids))
	for i := range ids {
		mine := in
		mine.Holder += string(rune('a' + i))
		wg.Go(func() {
			image, mineToo, err := c.client.EnsureImage(t.Context(), mine)
			if err != nil {
				t.Error(err)
			}
			ids[i], made[i] = image.ID, mineToo
		})
	}
	wg.Wait()
	image := c.demandOne(t, in)
	makers := 0
	for i := range ids {
		if ids[i] != image.ID {
			t.Errorf("run %d has image %q, the account %s", i, ids[i], image.ID)
		}
		if made[i] {
			makers++
		}
	}
	if makers != 1 || c.puts() != 1 {
		t.Errorf("%d runs made the image with %d uploads", makers, c.puts())
	}
	holders := image.Holders()
	if len(holders) != len(ids) {
		t.Errorf("%d runs hold the image: %q", len(holders), image.Tags)
	}
	for _, holder := range holders {
		wg.Go(func() {
			if _, err := c.client.ReleaseImage(t.Context(), image.ID, holder, false); err != nil {
				t.Error(err)
			}
		})
	}
	wg.Wait()
	if list := c.images(t, in); len(list) != 0 {
		t.Errorf("all have let go of %+v, and nobody has removed it", list)
	}
}

// TestInterruptedUpload ends a run while it sends. Nothing is left, and the next run does it.
func TestInterruptedUpload(t *testing.T) {
	t.Parallel()
	c := newCloud(t, quick)
	in := imageFile(t)
	c.Inject(emulated.Fault{Method: http.MethodPut, PathPrefix: emulated.UploadPath, BytesPerSecond: 100_000})
	ctx, cancel := context.WithCancel(t.Context())
	in.Progress = func(p linode.Progress) {
		if p.Phase == linode.PhaseUploading && p.Sent > 0 {
			cancel()
		}
	}
	if _, _, err := c.client.EnsureImage(ctx, in); !errors.Is(err, context.Canceled) {
		t.Fatalf("got %v, want the interruption", err)
	}
	if left := c.images(t, in); len(left) != 0 {
		t.Errorf("images are left: %+v", left)
	}
	in.Progress = nil
	if _, made, err := c.client.EnsureImage(t.Context(), in); err != nil || !made {
		t.Fatalf("got made %v, error %v", made, err)
	}
	c.demandOne(t, in)
}

// TestAbandonedUpload finds what a killed run has left: an image that waits for content which never comes.
func TestAbandonedUpload(t *testing.T) {
	t.Parallel()
	for name, sign := range map[string]string{"it gave signs of life": "atoll-upload:dead:7:43", "it gave none": "atoll-upload:dead:0:0", "unknown signs": "atoll-upload:what"} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			c := newCloud(t, func(cfg *linode.Config) { quick(cfg); cfg.Beat = 5 * time.Millisecond })
			in := imageFile(t)
			left := c.announce(t, in, sign)
			waited := false
			in.Progress = func(p linode.Progress) { waited = waited || p.Phase == linode.PhaseWaiting && p.Image == left }
			image, made, err := c.client.EnsureImage(t.Context(), in)
			if err != nil || !made || image.ID == left || !waited {
				t.Fatalf("got image %s (left was %s), made %v, waited %v, error %v", image.ID, left, made, waited, err)
			}
			c.demandOne(t, in)
		})
	}
}

// TestSlowUpload is longer on its way than a stalled one may be.
func TestSlowUpload(t *testing.T) {
	t.Parallel()
	c := newCloud(t, quick)
	c.Inject(emulated.Fault{Method: http.MethodPut, PathPrefix: emulated.UploadPath, BytesPerSecond: 300_000})
	in := imageFile(t)
	began := time.Now()
	if _, _, err := c.client.EnsureImage(t.Context(), in); err != nil {
		t.Fatal(err)
	}
	if took := time.Since(began); took < 500*time.Millisecond {
		t.Errorf("it took only %s", took)
	}
	if c.puts() != 1 {
		t.Errorf("it was sent %d times", c.puts())
	}
}

// announce makes an image without content, as another run does, and returns its ID.
func (c *cloud) announce(t *testing.T, in linode.Upload, sign string) string {
	t.Helper()
	body, err := json.Marshal(map[string]any{"label": in.Label, "region": in.Region, "tags": []string{in.Mark, sign}})
	if err != nil {
		t.Fatal(err)
	}
	r := httptest.NewRequestWithContext(t.Context(), http.MethodPost, "/v4"+uploads, bytes.NewReader(body))
	r.Header.Set("Authorization", "Bearer right")
	r.Header.Set("Content-Type", "application/json")
	answer := httptest.NewRecorder()
	c.ServeHTTP(answer, r)
	var made struct {
		Image struct {
			ID string `json:"id"`
		} `json:"image"`
	}
	if err := json.Unmarshal(answer.Body.Bytes(), &made); err != nil || made.Image.ID == "" {
		t.Fatalf("announce: %d %s", answer.Code, answer.Body)
	}
	return made.Image.ID
}

// TestUploadIsAStream sends a large file and watches the memory.
func TestUploadIsAStream(t *testing.T) {
	const size = 96 << 20
	in := imageFile(t)
	if err := os.Truncate(in.Path, size); err != nil {
		t.Fatal(err)
	}
	in.Size = size
	account := &emulated.Server{Token: "right"}
	storage := http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if strings.HasPrefix(r.URL.Path, emulated.UploadPath) {
			_, _ = io.Copy(io.Discard, r.Body) // what is short is noticed by the client
			w.WriteHeader(http.StatusForbidden)
			return
		}
		account.ServeHTTP(w, r)
	})
	server := httptest.NewServer(storage)
	defer server.Close()
	defer account.Close()
	client, err := linode.New(linode.Config{Token: "right", URL: server.URL, Pause: time.Millisecond, Poll: time.Millisecond})
	if err != nil {
		t.Fatal(err)
	}
	var before, after runtime.MemStats
	runtime.ReadMemStats(&before)
	_, _, err = client.EnsureImage(t.Context(), in)
	runtime.ReadMemStats(&after)
	var failure *linode.UploadError
	if !errors.As(err, &failure) || failure.Status != http.StatusForbidden {
		t.Fatalf("got %v, want the 403", err)
	}
	if used := after.TotalAlloc - before.TotalAlloc; used > size/4 {
		t.Errorf("%d bytes were allocated for three uploads of %d bytes", used, size)
	}
}
