package ahead

import (
	"archive/tar"
	"bufio"
	"errors"
	"io"
	"path"
	"path/filepath"
	"strings"
	"sync"

	"golang.org/x/sys/unix"
)

// Receiver takes what Send writes.
type Receiver struct {
	in    *io.PipeWriter
	done  chan struct{}
	count Count
}

// Receive begins to take what Send writes. Close has to be called.
func Receive(t Tree) *Receiver {
	from, in := io.Pipe()
	r := &Receiver{in: in, done: make(chan struct{})}
	// What comes into the tree's place meanwhile is not written to.
	root, err := unix.Open(t.Root, unix.O_DIRECTORY|unix.O_NOFOLLOW|unix.O_CLOEXEC, 0)
	w := &writing{tree: t, root: root, buffers: sync.Pool{New: func() any { return new([]byte) }}}
	if err != nil {
		t.Log.Warn("nothing is taken ahead of the first synchronization", "error", err)
		w.stop()
	}
	var busy sync.WaitGroup
	for i := range w.files {
		w.files[i] = make(chan file, waiting)
		busy.Go(func() { w.as(func() { w.write(w.files[i]) }) })
	}
	busy.Go(func() {
		defer func() {
			for _, files := range w.files {
				close(files)
			}
		}()
		w.as(func() { w.read(tar.NewReader(bufio.NewReaderSize(from, 128<<10))) })
		_, _ = io.Copy(io.Discard, from) // whoever sends is not to wait
	})
	go func() {
		defer close(r.done)
		busy.Wait()
		if err == nil {
			_ = unix.Close(root)
		}
		r.count = w.count
	}()
	return r
}

// Write implements io.Writer. It never fails: what cannot be used is dropped.
func (r *Receiver) Write(p []byte) (int, error) { return r.in.Write(p) }

// Close returns when nothing is written any more.
func (r *Receiver) Close() error {
	err := r.in.Close()
	<-r.done
	return err
}

// Came tells what has come, after Close.
func (r *Receiver) Came() Count { return r.count }

// file is one that has come.
type file struct {
	path    string
	content *[]byte
}

type writing struct {
	tree Tree
	// root is the tree's root, open.
	root int
	// files are what each writer has to write. One directory's are one writer's: others would wait for it.
	files   [writers]chan file
	buffers sync.Pool

	mu    sync.Mutex
	count Count
	full  bool
}

// as has a thread with the account's rights do something.
func (w *writing) as(do func()) {
	if err := w.tree.Account.do(func(thread int) {
		defer w.tree.Serving(thread)()
		do()
	}); err != nil {
		w.tree.Log.Warn("nothing is taken ahead of the first synchronization", "error", err)
		w.stop()
		do() // nothing but drop what comes
	}
}

// read makes directories and has files written until the end, or until what comes makes no sense: it was cut off.
func (w *writing) read(from *tar.Reader) {
	whose, next := map[string]chan file{}, 0
	for {
		header, err := from.Next()
		if err != nil {
			return
		}
		p := w.place(header.Name)
		switch {
		case p == "" || w.stopped():
		case header.Typeflag == tar.TypeDir:
			// What another attempt has left is gone on with. What cannot be made has its files left out.
			if err := unix.Mkdirat(w.root, p, 0o700); errors.Is(err, unix.ENOSPC) || errors.Is(err, unix.EDQUOT) {
				w.stop()
			}
		case header.Typeflag == tar.TypeReg && header.Size <= most:
			content, _ := w.buffers.Get().(*[]byte)
			if int64(cap(*content)) < header.Size {
				*content = make([]byte, header.Size)
			}
			*content = (*content)[:header.Size]
			if _, err := io.ReadFull(from, *content); err != nil {
				return
			}
			directory := path.Dir(p)
			files := whose[directory]
			if files == nil {
				if len(whose) == directoriesMost {
					clear(whose)
				}
				files = w.files[next%writers]
				whose[directory] = files
				next++
			}
			files <- file{p, content}
		}
	}
}

// place returns where what has a path in the tree is put, from its root, "" for nowhere.
func (w *writing) place(name string) string {
	name = strings.TrimSuffix(name, "/")
	if len(name) >= unix.PathMax || !filepath.IsLocal(name) || path.Clean(name) != name || name == "." {
		return ""
	}
	top, rest, below := strings.Cut(name, "/")
	if top = w.tree.Name(top); top == "" {
		return ""
	}
	if below {
		top += "/" + rest
	}
	return top
}

// write writes files. The account could write these anywhere else as well: a link that it has made leads nowhere that it has no right to.
func (w *writing) write(files <-chan file) {
	for f := range files {
		if !w.stopped() {
			switch err := create(w.root, f.path, *f.content); {
			case err == nil:
				w.mu.Lock()
				w.count.Files++
				w.count.Bytes += int64(len(*f.content))
				w.mu.Unlock()
			case errors.Is(err, unix.ENOSPC) || errors.Is(err, unix.EDQUOT):
				w.stop()
			}
		}
		w.buffers.Put(f.content)
	}
}

// create makes a file, or nothing.
func create(root int, p string, content []byte) error {
	fd, err := unix.Openat(root, p, unix.O_WRONLY|unix.O_CREAT|unix.O_EXCL|unix.O_NOFOLLOW|unix.O_CLOEXEC, 0o600)
	if err != nil {
		return err
	}
	for len(content) > 0 && err == nil {
		var n int
		n, err = unix.Write(fd, content)
		if errors.Is(err, unix.EINTR) {
			err = nil
		}
		content = content[max(n, 0):]
	}
	if err = errors.Join(err, unix.Close(fd)); err != nil {
		err = errors.Join(err, unix.Unlinkat(root, p, 0))
	}
	return err
}

func (w *writing) stopped() bool {
	w.mu.Lock()
	defer w.mu.Unlock()
	return w.full
}

func (w *writing) stop() {
	w.mu.Lock()
	first := !w.full
	w.full = true
	w.mu.Unlock()
	if first {
		w.tree.Enough()
	}
}
