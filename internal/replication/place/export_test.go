//go:build linux

package place

import "io"

// MountOf is mountOf.
func MountOf(mounts io.Reader, directory string) (at, fileSystem string, readOnly, hidden bool, err error) {
	m, err := mountOf(mounts, directory)
	return m.at, m.fileSystem, m.readOnly, m.hidden, err
}
