package worker

import "github.com/atollhq/terraform-provider-atoll/internal/replication/watch"

// Conflicts returns the copies of conflicting versions that a tree has, as a worker with an engine shows them after changes.
func Conflicts(root string, engine Engine, batches ...watch.Batch) []string {
	s := &shown{}
	s.set(engine, nil)
	for _, b := range batches {
		s.scan(root, b)
	}
	return s.conflicts()
}
