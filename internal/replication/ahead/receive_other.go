//go:build !linux

package ahead

// Receiver takes nothing, here.
type Receiver struct{}

// Receive begins nothing.
func Receive(t Tree) *Receiver {
	t.Enough()
	return &Receiver{}
}

// Write drops what comes.
func (*Receiver) Write(p []byte) (int, error) { return len(p), nil }

// Close does nothing.
func (*Receiver) Close() error { return nil }

// Came tells that nothing has come.
func (*Receiver) Came() Count { return Count{} }
