//go:build linux

package nodes_test

import (
	"os"
	"path/filepath"
	"sync"
	"testing"

	"github.com/atollhq/terraform-provider-atoll/internal/lab/nodes"
)

// TestSharedFolderGoesMeanwhile begins labs while others end, each of which removes the folder that they share when it finds it empty.
func TestSharedFolderGoesMeanwhile(t *testing.T) {
	shared := filepath.Join(t.TempDir(), "shared")
	over := make(chan struct{})
	var others sync.WaitGroup
	for range 2 {
		others.Go(func() {
			for {
				select {
				case <-over:
					return
				default:
					_ = os.Remove(shared)
				}
			}
		})
	}
	own := filepath.Join(shared, "lab-own")
	for range 1000 {
		if err := nodes.MakeShared(own, 0o700); err != nil {
			t.Error(err)
			break
		}
		if err := os.Remove(own); err != nil {
			t.Error(err)
			break
		}
	}
	close(over)
	others.Wait()
}
