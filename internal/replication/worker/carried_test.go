package worker_test

import (
	"bytes"
	"errors"
	"io"
	"os"
	"path/filepath"
	"testing"
	"time"

	"github.com/atollhq/terraform-provider-atoll/internal/lab/await"
	"github.com/atollhq/terraform-provider-atoll/internal/replication/watch"
	"github.com/atollhq/terraform-provider-atoll/internal/replication/worker"
)

// pipe is a stream that gives what is read from one buffer and takes what is written to another.
type pipe struct {
	io.Reader
	io.Writer
}

func (pipe) Close() error { return nil }

func TestCarried(t *testing.T) {
	t.Parallel()
	c := worker.NewCarried()
	stream := c.Over(pipe{bytes.NewReader(make([]byte, 1000)), io.Discard})
	if _, err := stream.Write(make([]byte, 300)); err != nil {
		t.Fatal(err)
	}
	if _, err := io.Copy(io.Discard, stream); err != nil {
		t.Fatal(err)
	}
	tree := t.TempDir()
	for _, path := range []string{"a", "b/c", "b/d/e", worker.CanaryDir + "/uploads/hk1"} {
		if err := errors.Join(os.MkdirAll(filepath.Join(tree, filepath.Dir(path)), 0o700), os.WriteFile(filepath.Join(tree, path), nil, 0o600)); err != nil {
			t.Fatal(err)
		}
	}
	c.Placed(tree, "a", false)
	c.Placed(tree, "b", true)
	c.Placed(tree, "gone", true)
	c.Placed(tree, worker.CanaryDir, true)
	c.Placed(tree, worker.CanaryDir+"/uploads/hk1", false)
	await.True(t, "all that has arrived is counted", time.Minute, func() bool { return c.Said().Files == 3 })
	if got := c.Said(); got.SentBytes != 300 || got.ReceivedBytes != 1000 {
		t.Errorf("got %+v", got)
	}
	changed := func(paths ...string) bool {
		before := time.Now()
		var batch watch.Batch
		for _, p := range paths {
			batch.Changes = append(batch.Changes, watch.Change{Path: p})
		}
		c.Sees(batch)
		return !c.LastChange().Before(before)
	}
	if changed(worker.CanaryDir+"/uploads/hk1") || changed(worker.CanaryDir) {
		t.Error("a canary counts as a change")
	}
	if !changed(worker.CanaryDir+"/uploads/hk1", "a") {
		t.Error("a change beside a canary does not count")
	}
	for _, round := range []struct{ took, want time.Duration }{
		{10 * time.Second, 10 * time.Second}, // the whole tree
		{200 * time.Millisecond, 200 * time.Millisecond},
		{20 * time.Second, 250 * time.Millisecond}, // many files
		{220 * time.Millisecond, 220 * time.Millisecond},
	} {
		if got := c.Ends(round.took); got != round.want {
			t.Errorf("after a round of %s: %s, want %s", round.took, got, round.want)
		}
	}
}
