//go:build !linux

package seed

// Inspect returns ErrNoDevices.
func Inspect(string) (Device, error) { return Device{}, ErrNoDevices }

// WriteDevice returns ErrNoDevices.
func WriteDevice(string, []byte) error { return ErrNoDevices }
