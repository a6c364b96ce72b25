package ahead

import (
	"archive/tar"
	"bufio"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path"
	"sync"
	"syscall"
)

// Send writes the directories and files of a tree that an account can read, but for what is skipped by its path from the root: directories before what is in
// them, and otherwise in no order. What cannot be read is left out. It fails when it cannot write, and where there is no tree.
func Send(root *os.Root, account Account, skip func(path string) bool, to io.Writer) (Count, error) {
	buffered := bufio.NewWriterSize(to, 64<<10)
	s := &sender{root: root, out: tar.NewWriter(buffered)}
	parts := make(chan []string, writers)
	errs := make(chan error, writers+1)
	var reading sync.WaitGroup
	for range writers {
		reading.Go(func() {
			errs <- account.do(func(int) { s.files(parts) })
			for range parts { // nobody is to wait for a thread that has not the account
			}
		})
	}
	errs <- account.do(func(int) { s.fail(s.walk(skip, parts)) })
	close(parts)
	reading.Wait()
	close(errs)
	for err := range errs {
		s.fail(err)
	}
	if s.failed == nil {
		s.failed = errors.Join(s.out.Close(), buffered.Flush())
	}
	return s.count, s.failed
}

// sender writes an archive. What is below mu is for several goroutines.
type sender struct {
	root *os.Root

	mu     sync.Mutex
	out    *tar.Writer
	count  Count
	failed error
}

// walk writes directories, and tells of files: some of one directory at a time, since whoever makes files in one waits for everybody else who does.
func (s *sender) walk(skip func(path string) bool, parts chan<- []string) error {
	var part []string
	hand := func() {
		if len(part) > 0 {
			parts <- part
			part = nil
		}
	}
	defer hand()
	return fs.WalkDir(s.root.FS(), ".", func(name string, entry fs.DirEntry, err error) error {
		switch {
		case name == ".":
			return err
		case err != nil:
			return fs.SkipDir // it cannot be read
		case skip(name):
			if entry.IsDir() {
				return fs.SkipDir
			}
		case entry.IsDir():
			return s.add(&tar.Header{Typeflag: tar.TypeDir, Name: name + "/", Mode: 0o700}, nil)
		case entry.Type().IsRegular():
			if len(part) == partMost || len(part) > 0 && path.Dir(part[0]) != path.Dir(name) {
				hand()
			}
			part = append(part, name)
		}
		return s.problem()
	})
}

// files writes the files of which it is told.
func (s *sender) files(parts <-chan []string) {
	buffer := make([]byte, most)
	for part := range parts {
		for _, name := range part {
			s.file(name, buffer)
		}
	}
}

// file writes a file unless it is long, or cannot be read.
func (s *sender) file(name string, buffer []byte) {
	if s.problem() != nil {
		return
	}
	// Something else may be there by now, which nobody is to wait for.
	f, err := s.root.OpenFile(name, os.O_RDONLY|syscall.O_NONBLOCK, 0)
	if err != nil {
		return
	}
	defer func() { _ = f.Close() }()
	info, err := f.Stat()
	if err != nil || !info.Mode().IsRegular() || info.Size() > int64(len(buffer)) {
		return
	}
	content := buffer[:info.Size()]
	if _, err := io.ReadFull(f, content); err != nil {
		return // it is being written
	}
	_ = s.add(&tar.Header{Typeflag: tar.TypeReg, Name: name, Size: info.Size(), Mode: 0o600}, content) // problem tells of it
}

// add writes an entry.
func (s *sender) add(header *tar.Header, content []byte) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.failed != nil {
		return s.failed
	}
	header.Format = tar.FormatGNU // names are bytes
	err := s.out.WriteHeader(header)
	if err == nil {
		_, err = s.out.Write(content)
	}
	if err != nil {
		s.failed = fmt.Errorf("send %q ahead: %w", header.Name, err)
		return s.failed
	}
	if header.Typeflag == tar.TypeReg {
		s.count.Files++
		s.count.Bytes += int64(len(content))
	}
	return nil
}

// fail notes the first problem.
func (s *sender) fail(err error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.failed == nil {
		s.failed = err
	}
}

func (s *sender) problem() error {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.failed
}
