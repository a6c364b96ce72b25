//go:build !linux

package host

import "errors"

func (*realSystem) netDevice(string) (NetDevice, error) { return NetDevice{}, errors.ErrUnsupported }
