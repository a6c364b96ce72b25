package linode

import (
	"bufio"
	"compress/gzip"
	"context"
	"crypto/sha256"
	"encoding/hex"
	"encoding/xml"
	"errors"
	"fmt"
	"hash"
	"io"
	"io/fs"
	"net/http"
	"os"
	"strconv"
	"time"
)

// Content is what was uploaded for an image.
type Content struct {
	// Name is that of the file in the server's ImageDir; the file holds the raw file system.
	Name string `json:"name"`
	// SHA256 and Bytes are those of what came over the wire, compressed, in hexadecimal.
	SHA256 string `json:"sha256"`
	Bytes  int64  `json:"bytes"`
	// RawSHA256 and RawBytes are those of the decompressed file.
	RawSHA256 string `json:"raw_sha256"`
	RawBytes  int64  `json:"raw_bytes"`
	// Problem says why no image can be made of it.
	Problem string `json:"problem,omitempty"`
}

// sizeMB is the size that the API shows.
func (c Content) sizeMB() int { return int((c.RawBytes + mebibyte - 1) / mebibyte) }

// Content returns what was uploaded for an image, as long as the image is there.
func (s *Server) Content(id string) (Content, bool) {
	s.start()
	s.mu.Lock()
	defer s.mu.Unlock()
	content, ok := s.state.Contents[id]
	return content, ok
}

// arrival is a Content with the path of its file.
type arrival struct {
	Content
	path string
}

// store writes what a request brings to a file of its own, decompressed, and reads it to the end whatever it is: the
// storage takes anything, and only later is it found not to be an image. An error is a request that ended too early.
func (s *Server) store(r *http.Request, id string) (_ arrival, err error) {
	// Several requests may bring the same image.
	name := strconv.Itoa(imageNumber(id)) + "-" + strconv.FormatInt(s.arrivals.Add(1), 10) + ".img"
	path, err := s.contents.path(name)
	if err != nil {
		return arrival{}, err
	}
	file, err := os.OpenFile(path, os.O_CREATE|os.O_WRONLY|os.O_TRUNC, 0o600)
	if err != nil {
		return arrival{}, fmt.Errorf("store an upload: %w", err)
	}
	raw := &sparseFile{File: file}
	defer func() {
		if err != nil {
			err = errors.Join(err, file.Close(), os.Remove(path))
		}
	}()
	body := &wire{Reader: r.Body, ctx: r.Context(), server: s, fault: faultOf(r.Context()), sum: sha256.New()}
	limit := int64(s.Quota.withDefaults().Uncompressed) * mebibyte
	sum := sha256.New()
	problem, err := decompress(io.MultiWriter(raw, sum), bufio.NewReaderSize(body, 1<<20), limit)
	if err != nil {
		return arrival{}, fmt.Errorf("store an upload: %w", err)
	}
	if _, err := io.Copy(io.Discard, body); err != nil {
		return arrival{}, err
	}
	if body.err != nil || body.bytes != r.ContentLength {
		return arrival{}, fmt.Errorf("the connection ended after %d of %d bytes: %w", body.bytes, r.ContentLength, errors.Join(body.err, io.ErrUnexpectedEOF))
	}
	if err := raw.finish(); err != nil {
		return arrival{}, fmt.Errorf("store an upload: %w", err)
	}
	if ext, err := isExt(path); problem == "" && (err != nil || !ext) {
		// The vendor takes it all the same (its own client's tests upload a few bytes of text); nothing will boot from it.
		s.Log.Warn("the uploaded image holds no ext file system", "image", id, "error", err)
	}
	came := arrival{path: path, Content: Content{
		Name: name, SHA256: hex.EncodeToString(body.sum.Sum(nil)), Bytes: body.bytes,
		RawSHA256: hex.EncodeToString(sum.Sum(nil)), RawBytes: raw.size, Problem: problem,
	}}
	return came, nil
}

// decompress returns what is wrong with an image in words for its event. The Cloud Manager puts "MB" behind their numbers. An
// error is this machine's, such as a full disk.
func decompress(to io.Writer, from io.Reader, limit int64) (problem string, err error) {
	const noGzip = "Upload is not a valid gzip file"
	unpacked, err := gzip.NewReader(from)
	if err != nil {
		return noGzip, nil //nolint:nilerr // it is the sender's
	}
	n, err := io.Copy(to, io.LimitReader(unpacked, limit+1))
	var ours *fs.PathError
	switch {
	case errors.As(err, &ours):
		return "", err
	case n > limit:
		return fmt.Sprintf("Uncompressed image exceeds the maximum size of %d", limit/mebibyte), nil
	case err != nil:
		return noGzip, nil //nolint:nilerr // as above
	}
	return "", nil
}

// wire is a request's body as it comes in, with faults.
type wire struct {
	io.Reader
	ctx    context.Context
	server *Server
	fault  *Fault
	sum    hash.Hash
	bytes  int64
	err    error
}

// Read implements [io.Reader].
func (w *wire) Read(data []byte) (int, error) {
	if w.fault != nil && w.fault.CutAfter > 0 {
		left := w.fault.CutAfter - w.bytes
		if left <= 0 {
			w.err = errInjected
			return 0, w.err
		}
		data = data[:min(int64(len(data)), left)]
	}
	if w.fault != nil && w.fault.BytesPerSecond > 0 {
		piece := max(w.fault.BytesPerSecond/10, 1)
		data = data[:min(int64(len(data)), piece)]
		if !w.server.pause(w.ctx, time.Second/10) {
			w.err = context.Canceled
			return 0, w.err
		}
	}
	n, err := w.Reader.Read(data)
	w.bytes += int64(n)
	_, _ = w.sum.Write(data[:n]) // a hash never fails
	if err != nil && !errors.Is(err, io.EOF) {
		w.err = err
	}
	return n, err
}

// mostDrained is how many bytes of an upload that is refused are read all the same.
const mostDrained = 16 << 20

// drain reads what a client is sending that does not ask first whether it may (Expect: 100-continue). It would see a
// broken connection instead of the answer.
func drain(r *http.Request) {
	if r.Header.Get("Expect") == "" {
		_, _ = io.CopyN(io.Discard, r.Body, mostDrained) // whatever comes, the answer is the same
	}
}

// storageError is an answer of the object storage.
type storageError struct {
	status     int
	code, text string
}

// Error implements error.
func (e *storageError) Error() string { return e.code + ": " + e.text }

// refuseUpload is how the object storage says what an injected fault is to say.
func refuseUpload(w http.ResponseWriter, status int, text string) {
	code := "InternalError"
	switch status {
	case http.StatusForbidden:
		code = "AccessDenied"
	case http.StatusServiceUnavailable:
		code = "SlowDown"
	}
	refuseUploadAs(w, status, code, text)
}

func refuseUploadAs(w http.ResponseWriter, status int, code, text string) {
	body, err := xml.Marshal(struct {
		XMLName xml.Name `xml:"Error"`
		Code    string   `xml:"Code"`
		Message string   `xml:"Message"`
	}{Code: code, Message: text})
	if err != nil {
		body = nil
	}
	w.Header().Set("Content-Type", "application/xml")
	w.WriteHeader(status)
	_, _ = w.Write(body) // the client may be gone already
}
