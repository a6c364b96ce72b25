package worker

import (
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"io"
	"net/http"
	"os"
	"path"
	"strings"
	"sync"
	"syscall"
	"time"

	"github.com/atollhq/terraform-provider-atoll/internal/replication"
	"github.com/atollhq/terraform-provider-atoll/internal/replication/watch"
)

// maxCanary bounds what is read of a canary, in bytes.
const maxCanary = 256

// canaries knows the other side's newest canary. It is safe for concurrent use.
type canaries struct {
	mu     sync.Mutex
	newest replication.Canary
	// news is closed when there is a newer one.
	news chan struct{}
}

func newCanaries() *canaries { return &canaries{news: make(chan struct{})} }

// changed looks whether the other side's canary is among what has changed.
func (c *canaries) changed(cfg Config, batch watch.Batch) {
	file := path.Join(cfg.Canaries(), cfg.Peer)
	seen := batch.All
	for _, change := range batch.Changes {
		seen = seen || change.Path == file || change.Recursive && (change.Path == "" || strings.HasPrefix(file, change.Path+"/"))
	}
	if !seen {
		return
	}
	found, err := readCanary(cfg)
	if err != nil {
		return // there is none, or not yet
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	if found.Nonce != c.newest.Nonce {
		c.newest = found
		close(c.news)
		c.news = make(chan struct{})
	}
}

func (c *canaries) after(ctx context.Context, nonce string) (replication.Canary, error) {
	for {
		c.mu.Lock()
		newest, news := c.newest, c.news
		c.mu.Unlock()
		if newest.Nonce != nonce && newest.Nonce != "" {
			return newest, nil
		}
		select {
		case <-ctx.Done():
			return replication.Canary{}, ctx.Err()
		case <-news:
		}
	}
}

// readCanary returns the other side's canary. Whoever owns the tree may have put a link in its place: it leads nowhere outside of it.
func readCanary(cfg Config) (replication.Canary, error) {
	root, err := OpenTree(cfg.Path)
	if err != nil {
		return replication.Canary{}, err
	}
	defer func() { _ = root.Close() }()
	// Nobody waits for the other end of a FIFO.
	f, err := root.OpenFile(path.Join(cfg.Canaries(), cfg.Peer), os.O_RDONLY|syscall.O_NONBLOCK, 0)
	if err != nil {
		return replication.Canary{}, err
	}
	defer func() { _ = f.Close() }()
	if info, err := f.Stat(); err != nil || !info.Mode().IsRegular() {
		return replication.Canary{}, errors.Join(fmt.Errorf("the canary of %s is no file", cfg.Peer), err)
	}
	data, err := io.ReadAll(io.LimitReader(f, maxCanary))
	if err != nil {
		return replication.Canary{}, err
	}
	nonce, date, _ := strings.Cut(strings.TrimSpace(string(data)), " ")
	written, err := time.Parse(time.RFC3339Nano, date)
	if err != nil {
		return replication.Canary{}, fmt.Errorf("read the canary of %s: %w", cfg.Peer, err)
	}
	return replication.Canary{Nonce: nonce, Written: written}, nil
}

// makeCanaries makes the directories that canaries are in, for the account. Both sides do before their trees are synchronized: each would bring its own over
// otherwise, at once, find the other's there and leave what it has.
func (w *worker) makeCanaries(root *os.Root) error {
	for _, directory := range []string{CanaryDir, w.cfg.Canaries()} {
		if err := root.Mkdir(directory, 0o755); err != nil && !errors.Is(err, os.ErrExist) {
			return err
		}
		if err := giveDirectory(root, directory, w.account); err != nil {
			return err
		}
	}
	return nil
}

// giveDirectory gives a directory to an account, unless it has it: somebody may have given everything in the tree to another one. Whoever owns the tree may have
// put another's file in its place, which is given to nobody.
func giveDirectory(root *os.Root, name string, account Account) error {
	at, err := root.Lstat(name)
	if err != nil {
		return err
	}
	dir, err := root.OpenFile(name, os.O_RDONLY|syscall.O_NONBLOCK, 0)
	if err != nil {
		return err
	}
	defer func() { _ = dir.Close() }()
	info, err := dir.Stat()
	if err != nil {
		return err
	}
	if !info.IsDir() || !os.SameFile(at, info) {
		return fmt.Errorf("%s is no directory: remove it", name)
	}
	if stat, ok := info.Sys().(*syscall.Stat_t); ok && (stat.Uid != uint32(account.UID) || stat.Gid != uint32(account.GID)) {
		return dir.Chown(account.UID, account.GID)
	}
	return nil
}

// prepareCanaries is makeCanaries for the tree as it is now.
func (w *worker) prepareCanaries() error {
	root, err := OpenTree(w.cfg.Path)
	if err != nil {
		return err
	}
	return errors.Join(w.makeCanaries(root), root.Close())
}

// writeCanary makes this side's canary anew.
func (w *worker) writeCanary() (replication.Canary, error) {
	if err := w.tree.check(); err != nil {
		return replication.Canary{}, err
	}
	root, err := OpenTree(w.cfg.Path)
	if err != nil {
		return replication.Canary{}, err
	}
	defer func() { _ = root.Close() }()
	if err := w.makeCanaries(root); err != nil {
		return replication.Canary{}, err
	}
	// A name that the program takes for one of its own unfinished files.
	file, next := path.Join(w.cfg.Canaries(), w.cfg.Node), path.Join(w.cfg.Canaries(), ".unison."+w.cfg.Node+".unison.tmp")
	canary := replication.Canary{Nonce: rand.Text(), Written: time.Now()}
	if err := root.Remove(next); err != nil && !errors.Is(err, os.ErrNotExist) {
		return replication.Canary{}, err
	}
	f, err := root.OpenFile(next, os.O_WRONLY|os.O_CREATE|os.O_EXCL, 0o644)
	if err != nil {
		return replication.Canary{}, err
	}
	_, err = fmt.Fprintf(f, "%s %s\n", canary.Nonce, canary.Written.UTC().Format(time.RFC3339Nano))
	if err := errors.Join(err, f.Chown(w.account.UID, w.account.GID), f.Close()); err != nil {
		return replication.Canary{}, err
	}
	return canary, root.Rename(next, file)
}

func (w *worker) serveCanary(rw http.ResponseWriter, _ *http.Request) {
	canary, err := w.writeCanary()
	if err != nil {
		http.Error(rw, fmt.Sprintf("write a canary into %s: %v", w.cfg.Path, err), http.StatusConflict)
		return
	}
	answer(rw, canary)
}

func (w *worker) serveCanaries(rw http.ResponseWriter, r *http.Request) {
	canary, err := w.canaries.after(r.Context(), r.URL.Query().Get("after"))
	if err != nil {
		return // whoever asked is gone
	}
	answer(rw, canary)
}
