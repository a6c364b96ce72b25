package contract

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
)

// Environment names the variable that says where the vendors' documents are.
const Environment = "ATOLL_SPECS"

// Documents returns the folder with the vendors' OpenAPI documents and recorded answers:
// ATOLL_SPECS, else ../shared/specs from the project's root, which is found from the working
// directory upwards. It returns [ErrNoDocuments] when there is no such folder; the documents are
// the vendors' and not part of the project.
func Documents() (string, error) {
	dir := os.Getenv(Environment)
	if dir == "" {
		root, err := projectRoot()
		if err != nil {
			return "", err
		}
		dir = filepath.Join(filepath.Dir(root), "shared", "specs")
	}
	info, err := os.Stat(dir)
	switch {
	case errors.Is(err, fs.ErrNotExist):
		return "", fmt.Errorf("%w: no folder %s (set %s)", ErrNoDocuments, dir, Environment)
	case err != nil:
		return "", fmt.Errorf("look for OpenAPI documents: %w", err)
	case !info.IsDir():
		return "", fmt.Errorf("%w: %s is not a folder (set %s)", ErrNoDocuments, dir, Environment)
	}
	return dir, nil
}

func projectRoot() (string, error) {
	dir, err := os.Getwd()
	if err != nil {
		return "", fmt.Errorf("look for OpenAPI documents: %w", err)
	}
	for {
		if _, err := os.Stat(filepath.Join(dir, "go.mod")); err == nil {
			return dir, nil
		}
		parent := filepath.Dir(dir)
		if parent == dir {
			return "", fmt.Errorf("%w: no go.mod above the working directory (set %s)", ErrNoDocuments, Environment)
		}
		dir = parent
	}
}
