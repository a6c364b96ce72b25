package smallfiles

import (
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"math/rand/v2"
	"os"
	"path/filepath"
	"sync"
	"sync/atomic"
	"time"
)

// meter counts files and tells how far a phase is.
type meter struct {
	ctx      context.Context
	step     Step
	progress func(Step)
	done     atomic.Int64
}

// run measures the work and reports beside it.
func (m *meter) run(work func() error) (time.Duration, error) {
	m.progress(m.step)
	stop, over := make(chan struct{}), make(chan struct{})
	go func() {
		defer close(over)
		tick := time.NewTicker(time.Second)
		defer tick.Stop()
		for {
			select {
			case <-tick.C:
				step := m.step
				step.Done = int(m.done.Load())
				m.progress(step)
			case <-stop:
				return
			}
		}
	}()
	began := time.Now()
	err := work()
	took := time.Since(began)
	close(stop)
	<-over
	if err != nil {
		return 0, err
	}
	m.step.Done = m.step.Total
	m.progress(m.step)
	return took, nil
}

// each calls work for 0 to n-1, on several goroutines, until one fails or the context ends.
func (m *meter) each(r *run, n int, work func(i int, buffer []byte) error) error {
	ctx, cancel := context.WithCancelCause(m.ctx)
	defer cancel(nil)
	var next atomic.Int64
	var wait sync.WaitGroup
	for range min(r.Parallel, n) {
		wait.Go(func() {
			buffer := make([]byte, max(256<<10, r.fixture.largest()))
			for ctx.Err() == nil {
				i := int(next.Add(1)) - 1
				if i >= n {
					return
				}
				if err := work(i, buffer); err != nil {
					cancel(err)
				}
			}
		})
	}
	wait.Wait()
	return context.Cause(ctx)
}

// write writes directory after directory. The disk has all of it when it returns.
func (r *run) write(m *meter, dir string) error {
	f := r.fixture
	err := m.each(r, f.folders(), func(d int, buffer []byte) error {
		folder := filepath.Join(dir, f.folder(d))
		if err := os.MkdirAll(folder, 0o755); err != nil {
			return err
		}
		for i := d * perFolder; i < min((d+1)*perFolder, f.files) && m.ctx.Err() == nil; i++ {
			if err := r.one(filepath.Join(folder, f.name(i)), i, buffer); err != nil {
				return err
			}
			m.done.Add(1)
		}
		if r.SyncEach {
			return syncOne(folder)
		}
		return nil
	})
	if err != nil {
		return err
	}
	return syncAll(dir)
}

func (r *run) one(path string, i int, buffer []byte) (err error) {
	file, err := os.OpenFile(path, os.O_WRONLY|os.O_CREATE|os.O_EXCL, 0o644)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, file.Close()) }()
	if _, err := file.Write(r.fixture.content(i, buffer)); err != nil {
		return err
	}
	if r.SyncEach {
		return file.Sync()
	}
	return nil
}

// WrongContentError is a file that is not what was written a moment ago.
type WrongContentError struct{ Path string }

// Error names the file.
func (e *WrongContentError) Error() string {
	return fmt.Sprintf("%s does not hold what was written to it", e.Path)
}

// read reads all files in an order that no disk likes, the same for both directories.
func (r *run) read(m *meter, dir string) error {
	f := r.fixture
	order := rand.New(rand.NewPCG(1, 2)).Perm(f.files)
	return m.each(r, f.files, func(at int, buffer []byte) error {
		i := order[at]
		path := filepath.Join(dir, f.folder(i/perFolder), f.name(i))
		file, err := os.Open(path)
		if err != nil {
			return err
		}
		defer file.Close() //nolint:errcheck // nothing was written
		size, first := int64(0), true
		for {
			n, err := file.Read(buffer)
			if first && !f.marked(i, buffer[:n]) {
				return &WrongContentError{Path: path}
			}
			size, first = size+int64(n), false
			if errors.Is(err, io.EOF) {
				break
			}
			if err != nil {
				return err
			}
		}
		if size != f.size(i) {
			return &WrongContentError{Path: path}
		}
		m.done.Add(1)
		return nil
	})
}

// list looks at every name and its size, as a scan does.
func (r *run) list(m *meter, dir string) error {
	var bytes int64
	err := filepath.WalkDir(dir, func(_ string, e fs.DirEntry, err error) error {
		if err != nil || e.IsDir() {
			return errors.Join(err, m.ctx.Err())
		}
		info, err := e.Info()
		if err != nil {
			return err
		}
		bytes += info.Size()
		m.done.Add(1)
		return nil
	})
	if err != nil {
		return err
	}
	if n := m.done.Load(); n != int64(r.Files) || bytes != r.fixture.bytes() {
		return fmt.Errorf("%d files of %d bytes in all are listed, %d of %d were written: is something else at work in there?", n, bytes, r.Files, r.fixture.bytes())
	}
	return nil
}

// remove removes directory after directory. The disk knows when it returns.
func (r *run) remove(m *meter, dir string) error {
	f := r.fixture
	err := m.each(r, f.folders(), func(d int, _ []byte) error {
		folder := filepath.Join(dir, f.folder(d))
		for i := d * perFolder; i < min((d+1)*perFolder, f.files) && m.ctx.Err() == nil; i++ {
			if err := os.Remove(filepath.Join(folder, f.name(i))); err != nil {
				return err
			}
			m.done.Add(1)
		}
		if m.ctx.Err() != nil {
			return m.ctx.Err()
		}
		return os.Remove(folder)
	})
	if err != nil {
		return err
	}
	return syncAll(dir)
}
