package seed

import (
	"errors"
	"fmt"
	"strings"
)

// Device is a disk or stick as its owner would recognise it.
type Device struct {
	Path string
	// Model is what the hardware calls itself; empty when it does not say.
	Model string
	// Size is in bytes.
	Size int64
	// Holds names what is on it: file systems and partitions.
	Holds []string
	// InUse says by what it is in use: mounted, swapped to, or a part of a larger device.
	InUse []string
}

// ErrNoDevices is returned where this program cannot tell what is on a device.
var ErrNoDevices = errors.New("devices can only be written on Linux: write an image file and copy that to the stick with your system's tool for disk images")

// InUseError says that a device is in use.
type InUseError struct{ Device Device }

// Error says by what.
func (e *InUseError) Error() string {
	return fmt.Sprintf("%s is in use (%s): unmount it first, if it is the right one", e.Device.Path, strings.Join(e.Device.InUse, ", "))
}

// String describes the device for a question.
func (d Device) String() string {
	text := d.Path
	if d.Model != "" {
		text += " (" + d.Model + ")"
	}
	text += ", " + size(d.Size)
	if len(d.Holds) == 0 {
		return text + ", nothing known on it"
	}
	return text + ", with " + strings.Join(d.Holds, ", ")
}

func size(n int64) string {
	const mib = 1 << 20
	switch {
	case n >= 10*1024*mib:
		return fmt.Sprintf("%d GiB", n/(1024*mib))
	case n >= mib:
		return fmt.Sprintf("%d MiB", n/mib)
	default:
		return fmt.Sprintf("%d bytes", n)
	}
}
