package platform

import (
	"context"
	"errors"
	"io/fs"
	"os"
	"path/filepath"
)

// The payload on the EFI system partition of Atoll's image, a FAT file system that any computer can write to before the disk
// goes into the machine.
const (
	ESPFile  = "/boot/efi/" + SeedFile
	LabelESP = "ESP"
)

// ESP is the payload on the EFI system partition, by the file where that is mounted. It is read without being mounted
// otherwise: the partition is not needed to run, so a boot does not wait for it, and it may not be there yet.
type ESP struct {
	// Root is put before the paths of files and devices; empty means "/".
	Root string
}

var _ Source = ESP{}

func (e ESP) file() File { return File{Path: filepath.Join("/", e.Root, ESPFile)} }

func (e ESP) volume() Seed { return Seed{Label: LabelESP, Root: e.Root} }

// Name implements Source.
func (ESP) Name() string { return "EFI system partition, " + SeedFile }

// Fetch implements Source.
func (e ESP) Fetch(ctx context.Context) (data []byte, found bool, err error) {
	if data, found, err = e.file().Fetch(ctx); found || err != nil {
		return data, found, err
	}
	return e.volume().Fetch(ctx)
}

// Forget implements Source: it deletes the file, or blots out the ticket's key where the partition is not mounted.
func (e ESP) Forget(ctx context.Context, used string) error {
	if _, err := os.Stat(e.file().path()); !errors.Is(err, fs.ErrNotExist) {
		return e.file().Forget(ctx, used)
	}
	return e.volume().Forget(ctx, used)
}
