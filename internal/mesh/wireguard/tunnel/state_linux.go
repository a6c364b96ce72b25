package tunnel

import (
	"encoding/json"
	"errors"
	"os"
	"path/filepath"
)

// replaceFile writes a value as JSON, so that a reader sees the old file or the new one. It is for memory file systems:
// nothing is synced.
func replaceFile(path string, value any) error {
	text, err := json.Marshal(value)
	if err != nil {
		return err
	}
	f, err := os.CreateTemp(filepath.Dir(path), ".state-*")
	if err != nil {
		return err
	}
	_, err = f.Write(text)
	if err = errors.Join(err, f.Close()); err == nil {
		err = os.Rename(f.Name(), path)
	}
	if err != nil {
		return errors.Join(err, os.Remove(f.Name()))
	}
	return nil
}
