package mesh

import "context"

// Rotator is a driver whose node can change its key while the mesh runs. Peers that know both keys (topology.Peer.OtherKey)
// let the node in under either, so that it may change at any moment; a driver's Apply takes a second key over, and gives one up,
// without interrupting anything. Its methods may be called from several goroutines, each any number of times.
type Rotator interface {
	// Keys returns the node's public keys: the one that Apply uses and the one that was prepared to follow, "" for none. An
	// error of the first is one of EnsureKey's, fs.ErrNotExist when there is no key.
	Keys(ctx context.Context) (current, prepared string, err error)
	// PrepareKey makes the key that is to follow, if there is none yet, and returns its public half. Nothing uses it.
	// A prepared key that cannot be read is made anew, since nobody can have met the node under it.
	PrepareKey(ctx context.Context) (public string, err error)
	// SwitchKey makes the prepared key the node's, and destroys the one before. It does nothing when that has happened already, and
	// fails when prepared is neither. The next Apply makes the mesh use it.
	SwitchKey(ctx context.Context, prepared string) error
}
