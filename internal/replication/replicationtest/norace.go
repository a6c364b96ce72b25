//go:build !race || !linux

package replicationtest

// EndsAtOnce does nothing: programs without the race detector end when they end.
func EndsAtOnce(bool) error { return nil }
