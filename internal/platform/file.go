package platform

import (
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
)

// FirstBootFile is the path of the carrier that Terraform (over SSH), cloud-init or an operator writes.
const FirstBootFile = "/etc/atoll/first-boot.json"

// File is a file that holds the payload, bare or in a cloud-config.
type File struct {
	// Path is the file's path; empty means FirstBootFile.
	Path string
}

var _ Source = File{}

func (f File) path() string {
	if f.Path == "" {
		return FirstBootFile
	}
	return f.Path
}

// Name implements Source.
func (f File) Name() string { return "file " + f.path() }

// Fetch implements Source. A file that is there but holds nothing for Atoll is an error, since it was put there for Atoll.
func (f File) Fetch(context.Context) (data []byte, found bool, err error) {
	file, err := os.Open(f.path())
	if errors.Is(err, fs.ErrNotExist) {
		return nil, false, nil
	}
	if err != nil {
		return nil, false, fmt.Errorf("read the first-boot file: %w", err)
	}
	defer func() { err = errors.Join(err, file.Close()) }()
	raw, err := io.ReadAll(io.LimitReader(file, maxUserData+1))
	if err != nil {
		return nil, false, fmt.Errorf("read the first-boot file: %w", err)
	}
	data, found, err = Extract(raw)
	if err == nil && !found {
		err = errors.New("the first-boot file holds no Atoll payload: write it again or remove it")
	}
	return data, found, err
}

// Forget implements Source: it deletes the file, unless somebody has put another payload there meanwhile.
func (f File) Forget(ctx context.Context, used string) error {
	if data, found, err := f.Fetch(ctx); err == nil && found && checksum(data) != used {
		return nil
	}
	if err := os.Remove(f.path()); err != nil && !errors.Is(err, fs.ErrNotExist) {
		return fmt.Errorf("remove the first-boot file: %w", err)
	}
	return nil
}
