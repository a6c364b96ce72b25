package linode

import (
	"bytes"
	"context"
	"crypto/sha256"
	"encoding/hex"
	"encoding/xml"
	"errors"
	"fmt"
	"hash"
	"io"
	"net/http"
	"os"
	"strconv"
	"sync/atomic"
	"time"
)

// UploadError is an upload of an image's content that did not succeed.
type UploadError struct {
	// Status is the HTTP status of the storage's answer, 0 when none came.
	Status int
	// Reason is what the storage says.
	Reason string
	// Sent is how far the last try came, of Total bytes.
	Sent, Total int64
	// Tries is how often it was tried.
	Tries int
	// RetryAfter is how long the storage asked to wait.
	RetryAfter time.Duration
	// Err is the transport's error.
	Err error
}

// Error says what happened and how far the upload came.
func (e *UploadError) Error() string {
	text := "upload the image's content: "
	switch {
	case e.Status != 0:
		text += fmt.Sprintf("the storage answered HTTP %d", e.Status)
		if e.Reason != "" {
			text += " (" + e.Reason + ")"
		}
	case e.Err != nil:
		text += e.Err.Error()
	}
	text += fmt.Sprintf("; %d of %d bytes were sent", e.Sent, e.Total)
	if e.Tries > 1 {
		text += fmt.Sprintf(" in the last of %d tries", e.Tries)
	}
	return text
}

// Unwrap returns the transport's error.
func (e *UploadError) Unwrap() error { return e.Err }

// addressIsBad tells whether another upload address may help, which is signed and expires.
func (e *UploadError) addressIsBad() bool {
	return e.Status >= http.StatusBadRequest && e.Status < http.StatusInternalServerError &&
		e.Status != http.StatusRequestTimeout && e.Status != http.StatusTooManyRequests
}

// ErrContentChanged means that a file is not any more what it was when the upload was planned.
var ErrContentChanged = errors.New("the file has changed")

// errStalled ends a try in which nothing moves.
var errStalled = errors.New("nothing more was taken")

// content is a file that is sent.
type content struct {
	path   string
	sha256 string
	size   int64
}

// put sends the content to a presigned address, once. The address is a secret and is in no error.
//
// This is not linodego's UploadImageToURL, which reads the whole file into memory, cannot be told which transport to use,
// and returns no error when the storage answers 403.
func (c *Client) put(ctx context.Context, address string, from content, sent func(int64)) error {
	file, err := os.Open(from.path)
	if err != nil {
		return err
	}
	defer func() { _ = file.Close() }() // only read
	if info, err := file.Stat(); err != nil {
		return err
	} else if info.Size() != from.size {
		return fmt.Errorf("%s: %w: it has %d bytes, not %d", from.path, ErrContentChanged, info.Size(), from.size)
	}
	ctx, cancel := context.WithCancelCause(ctx)
	defer cancel(nil)
	// A slow connection is fine, one on which nothing moves is not.
	stall := time.AfterFunc(c.stall, func() { cancel(fmt.Errorf("%w for %s", errStalled, c.stall)) })
	defer stall.Stop()
	body := &outgoing{file: file, sum: sha256.New(), moved: func(n int64) {
		if n < from.size {
			stall.Reset(c.stall)
		} else {
			stall.Reset(5 * c.stall) // now the storage has work to do
		}
		sent(n)
	}}
	req, err := http.NewRequestWithContext(ctx, http.MethodPut, address, body)
	if err != nil {
		return &UploadError{Total: from.size, Err: errors.New("the API gave no usable upload address")}
	}
	req.ContentLength = from.size
	req.Header.Set("Content-Type", "application/octet-stream")
	// A refusal then comes before the file is sent, not after.
	req.Header.Set("Expect", "100-continue")
	resp, err := c.base.RoundTrip(req) // not http.Client, whose errors show the address
	failure := &UploadError{Total: from.size}
	if err != nil {
		failure.Sent, failure.Err = body.bytes.Load(), err
		if cause := context.Cause(ctx); cause != nil {
			failure.Err = cause
		}
		return failure
	}
	defer func() { _ = resp.Body.Close() }()
	answer, err := io.ReadAll(io.LimitReader(resp.Body, 4<<10))
	failure.Sent = body.bytes.Load()
	if resp.StatusCode < 200 || resp.StatusCode > 299 {
		failure.Status, failure.Reason = resp.StatusCode, storageReason(answer)
		if s, err := strconv.Atoi(resp.Header.Get("Retry-After")); err == nil && s > 0 {
			failure.RetryAfter = time.Duration(s) * time.Second
		}
		return failure
	}
	if err != nil {
		failure.Err = fmt.Errorf("read the storage's answer: %w", err)
		return failure
	}
	if failure.Sent != from.size {
		failure.Err = errors.New("the storage answered before it had everything")
		return failure
	}
	if hex.EncodeToString(body.sum.Sum(nil)) != from.sha256 {
		return fmt.Errorf("%s: %w while it was uploaded", from.path, ErrContentChanged)
	}
	return nil
}

// storageReason is what an object storage says in its XML.
func storageReason(answer []byte) string {
	var said struct {
		Code    string `xml:"Code"`
		Message string `xml:"Message"`
	}
	if xml.Unmarshal(answer, &said) == nil && said.Code != "" {
		if said.Message != "" {
			return said.Code + ": " + said.Message
		}
		return said.Code
	}
	text := bytes.ToValidUTF8(bytes.Join(bytes.Fields(answer), []byte(" ")), nil)
	return string(text[:min(len(text), 200)])
}

// outgoing is a request's body that tells how much of it was taken.
type outgoing struct {
	file  *os.File
	sum   hash.Hash
	bytes atomic.Int64
	moved func(int64)
}

// Read implements io.Reader.
func (o *outgoing) Read(p []byte) (int, error) {
	n, err := o.file.Read(p)
	if n > 0 {
		_, _ = o.sum.Write(p[:n]) // a hash never fails
		o.moved(o.bytes.Add(int64(n)))
	}
	return n, err
}

// Close implements io.Closer. Who made it closes the file: the transport may still read after an early answer.
func (o *outgoing) Close() error { return nil }
