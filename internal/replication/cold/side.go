package cold

import (
	"context"
	"errors"
	"fmt"
	"io"
)

// Side is one node's part in moving. Each method may be called again after it was interrupted at any point. Moves of one side come one
// after the other; State may be asked at any time.
type Side interface {
	// State tells what there is. It fails with a Problem while the tree is not to be had.
	State(ctx context.Context) (State, error)
	// Copy has the directory in the root, or on the way there, whole and verified. It fails with *BusyError while somebody works in it.
	Copy(ctx context.Context, dir string) (Copied, error)
	// Swap puts a link in the place of a directory that was copied.
	Swap(ctx context.Context, dir string) error
	// Follow is Copy for a directory that is moved on the other node already: it may be in use, and what differs from its copy is merged later.
	Follow(ctx context.Context, dir string) error
	// Finish removes what is aside and is in the root.
	Finish(ctx context.Context) error
	// Serve returns a stream on which rsync answers for the root.
	Serve(ctx context.Context) (io.ReadWriteCloser, error)
	// Sync runs rsync between the root and what answers at the other end of a stream, which it closes. With directories it is about these
	// alone, and compares their files by contents: the dates of two copies are not the same to the nanosecond.
	Sync(ctx context.Context, way Way, dirs []string, peer io.ReadWriteCloser) error
}

// Way is a direction.
type Way string

// The directions of Side.Sync: to the other side what is newer here, by whole seconds, from there what is newer there, and to there what is different
// still, that is what both have changed within the same second.
const (
	Push     Way = "push"
	Pull     Way = "pull"
	PushRest Way = "push-rest"
)

// State is what a side has. Paths are from the tree's root, as bytes, sorted.
type State struct {
	// Linked are the directories that are moved, Plain those that are not, by their names.
	Linked [][]byte `json:"linked,omitempty"`
	Plain  [][]byte `json:"plain,omitempty"`
	// Due are those of Plain that are old enough.
	Due [][]byte `json:"due,omitempty"`
	// Aside is how many directories were replaced and are not removed yet.
	Aside int `json:"aside,omitempty"`
	// Bytes is the size of the files in the root, as it was within the last hour.
	Bytes int64 `json:"bytes"`
	// Kept is how many replaced versions of files are kept in the root.
	Kept int `json:"kept,omitempty"`
	// Orphaned is how many directories in the root have nothing in their place in the tree.
	Orphaned int `json:"orphaned,omitempty"`
	// Problem is what keeps directories from being moved, "" for nothing. What the tree has is known all the same.
	Problem Problem `json:"problem,omitempty"`
}

// fit fails while nothing can be moved.
func (s State) fit() error {
	if s.Problem != "" {
		return s.Problem
	}
	return nil
}

// Copied is a directory as it was copied.
type Copied struct {
	// Sum is a digest of what the hot part keeps equal of it.
	Sum   string `json:"sum"`
	Files int    `json:"files"`
	Bytes int64  `json:"bytes"`
}

// UnreachedError is that a side was not reached, or not any more: it is tried again, and nothing is wrong with what there is to move.
type UnreachedError struct{ Err error }

// Error returns what happened.
func (e *UnreachedError) Error() string { return e.Err.Error() }

// Unwrap returns what happened.
func (e *UnreachedError) Unwrap() error { return e.Err }

func isUnreached(err error) bool {
	var u *UnreachedError
	return errors.As(err, &u)
}

// BusyError is why a directory is not moved now. It may be later, without anybody's doing.
type BusyError struct {
	Dir, Reason string
}

// Error names the directory and the reason.
func (e *BusyError) Error() string { return fmt.Sprintf("directory %q is in use: %s", e.Dir, e.Reason) }

func busy(dir, format string, args ...any) error {
	return &BusyError{Dir: dir, Reason: fmt.Sprintf(format, args...)}
}

func isBusy(err error) bool {
	var b *BusyError
	return errors.As(err, &b)
}
