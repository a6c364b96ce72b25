package worker

// Receives tells whether what is mounted elsewhere arrives at a mount.
func Receives(list []byte, path string) bool { return receives(list, path) }
