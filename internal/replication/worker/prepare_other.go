//go:build !linux

package worker

import "errors"

// makeTree is for nodes, which run Linux.
func makeTree(string, Account) error { return errors.ErrUnsupported }
