// Package keyfile keeps a node's private key of the mesh, and the next one while it is being replaced, in two files. It is the half
// of mesh.Rotator that does not depend on the kind of key.
package keyfile

import (
	"context"
	"errors"
	"fmt"
	"io/fs"

	"github.com/atollhq/terraform-provider-atoll/internal/host"
)

// Keys are the keys of one driver on one node. Its methods are not safe for concurrent use: the driver's lock is held.
type Keys struct {
	System host.System
	// File holds the private key in use, Next the one that is prepared.
	File, Next string
	// Public returns the public half of the key in a file, or an error that is fs.ErrNotExist.
	Public func(file string) (string, error)
	// Make makes a private key in a file and returns the public half.
	Make func(file string) (string, error)
}

// Ensure returns the public half of the key in use, which is made when there is none. A key that cannot be read is never replaced:
// the node's peers know it, and the operator has to decide.
func (k Keys) Ensure(ctx context.Context) (string, error) {
	if err := ctx.Err(); err != nil {
		return "", err
	}
	public, err := k.Public(k.File)
	if !errors.Is(err, fs.ErrNotExist) {
		return public, err
	}
	return k.Make(k.File)
}

// Both returns the public halves of the key in use and of the prepared one, "" for none.
func (k Keys) Both() (current, prepared string, err error) {
	if current, err = k.Public(k.File); err != nil {
		return "", "", err
	}
	// One that cannot be read is as good as none.
	if next, err := k.Public(k.Next); err == nil && next != current {
		prepared = next
	}
	return current, prepared, nil
}

// Prepare returns the public half of the prepared key, which is made when there is none.
func (k Keys) Prepare(ctx context.Context) (string, error) {
	if err := ctx.Err(); err != nil {
		return "", err
	}
	_, prepared, err := k.Both()
	if err != nil || prepared != "" {
		return prepared, err
	}
	return k.Make(k.Next)
}

// Switch puts the prepared key with this public half into use. It may be repeated. The prepared key is removed last: who finds it
// beside the same key in use knows that the change was made.
func (k Keys) Switch(prepared string) error {
	current, err := k.Public(k.File)
	if err == nil && current != prepared {
		err = k.use(prepared)
	}
	if err == nil {
		err = k.forget(prepared)
	}
	if err != nil {
		return fmt.Errorf("change the mesh key: %w", err)
	}
	return nil
}

// use writes the prepared key over the one in use.
func (k Keys) use(prepared string) error {
	next, err := k.Public(k.Next)
	if err != nil {
		return err
	}
	if next != prepared {
		return errors.New("another key than this one is prepared")
	}
	text, err := k.System.ReadFile(k.Next)
	if err != nil {
		return err
	}
	_, err = k.System.WriteFile(k.File, text, 0o600)
	return err
}

// forget removes the prepared key, unless it is another one.
func (k Keys) forget(prepared string) error {
	if next, err := k.Public(k.Next); errors.Is(err, fs.ErrNotExist) || err == nil && next != prepared {
		return nil
	}
	_, err := k.System.Remove(k.Next)
	return err
}
