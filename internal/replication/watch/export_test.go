//go:build linux

package watch

// Stall holds up whoever reads the kernel's events until resume is called. It returns when nobody reads any more.
func (w *Watcher) Stall() (resume func()) {
	held, free := make(chan struct{}), make(chan struct{})
	w.stalls <- func() {
		close(held)
		<-free
	}
	<-held
	return func() { close(free) }
}

// RaiseIn is Raise of a limit in a file.
func RaiseIn(file string) error { return raise(file) }
