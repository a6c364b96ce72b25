// Package digest says whether two directory trees are equal, and where they are not, without trusting the tool that
// replicates them.
//
// A digest is a Merkle tree: SHA-256 over the sorted entries of a directory, those of its directories included. What an
// entry is made of:
//
//   - its name, as bytes; names are never decoded, so what is no UTF-8 is as good as any other name;
//   - its type: file, directory or symbolic link;
//   - a file's size and content, a symbolic link's target (as bytes; it is never followed);
//   - permission bits of files and directories, as far as Options.Permissions says;
//   - by option owner and group, extended attributes, POSIX ACLs, and a file's modification time.
//
// What is no part of it: the tree's own root (its owner and mode are how the node mounts it), directories' times, inode
// numbers and link counts. A hard link is one more file with that content, since no tool of a pair keeps more of it; the
// content is read once while the cache holds it. A sparse file is its content: holes are zeros. Sockets, FIFOs and devices
// are the node's own and are left out, counted in Snapshot.Skipped. Other file systems mounted inside are entered.
//
// What cannot be read, or changes while it is read, is a Problem, and gets a random digest: such trees are never equal.
//
// SHA-256 is the standard library's. With the instructions that every server's processor has had since 2017 (AMD) or 2021
// (Intel) it hashes a file of 15 KB in some 10 µs, about the time that opening and reading it takes (BenchmarkHash). BLAKE3
// would save up to a third of that at the price of a dependency.
package digest

import (
	"context"
	"crypto/sha256"
	"encoding/base64"
	"fmt"
	"time"

	"github.com/atollhq/terraform-provider-atoll/internal/replication/exclude"
)

// Sum is a SHA-256 sum. Its text is unpadded base64.
type Sum [sha256.Size]byte

// String is the sum's text.
func (s Sum) String() string { return base64.RawStdEncoding.EncodeToString(s[:]) }

// MarshalText writes the sum's text.
func (s Sum) MarshalText() ([]byte, error) { return []byte(s.String()), nil }

// UnmarshalText reads what MarshalText writes.
func (s *Sum) UnmarshalText(text []byte) error {
	if base64.RawStdEncoding.DecodedLen(len(text)) != len(s) {
		return fmt.Errorf("digest: a sum of %d characters: want %d", len(text), base64.RawStdEncoding.EncodedLen(len(s)))
	}
	if _, err := base64.RawStdEncoding.Decode(s[:], text); err != nil {
		return fmt.Errorf("digest: a sum that is no base64: %w", err)
	}
	return nil
}

// Owners says what of owner and group belongs to a digest.
type Owners string

// The ways to look at owners.
const (
	// OwnersIgnored leaves owner and group out.
	OwnersIgnored Owners = ""
	// OwnersNumeric takes the numbers.
	OwnersNumeric Owners = "numeric"
	// OwnersByName takes the names, and the number of an owner or group that has none on this node.
	OwnersByName Owners = "names"
)

// Options say what belongs to a digest. All but Workers, MaxCached and Now must be the same on both sides, or the digests
// differ whatever is in the trees; Settings tells that apart.
type Options struct {
	// Exclude is what stays out, nil for nothing.
	Exclude *exclude.Set
	// Permissions is the mask of permission bits that count: 0o7777 for all, 0o777 without set-user-ID, set-group-ID and
	// sticky, 0 for none.
	Permissions uint32
	Owners      Owners
	// Xattrs takes extended attributes of the namespace "user.", ACLs those that hold POSIX ACLs. File systems without
	// them have none.
	Xattrs, ACLs bool
	// ModTimes takes modification times of files, in whole seconds.
	ModTimes bool

	// Workers is how many files and directories are read at once; 0 means one for each processor, at most 4.
	Workers int
	// MaxCached bounds the files whose content is remembered; 0 means no bound. One takes 120 to 180 bytes.
	MaxCached int
	// Now is the clock that the cache compares files' times with, time.Now when nil.
	Now func() time.Time
}

// Totals count what is below a directory. A file is everything that is no directory.
type Totals struct {
	Files       int64 `json:"files"`
	Directories int64 `json:"directories"`
	// Bytes is the sum of files' sizes.
	Bytes int64 `json:"bytes"`
}

func (t *Totals) add(o Totals) {
	t.Files += o.Files
	t.Directories += o.Directories
	t.Bytes += o.Bytes
}

// Kind is an entry's type.
type Kind string

// The kinds of entries.
const (
	File    Kind = "file"
	Folder  Kind = "directory"
	Symlink Kind = "symlink"
	// Unknown is what could not even be looked at: Problem says why.
	Unknown Kind = "unknown"
)

// Entry is one name in a directory. Its JSON holds names as base64, since they may be any bytes.
type Entry struct {
	Name []byte `json:"name"`
	Kind Kind   `json:"kind"`
	// Content is the sum of a file's bytes or a symbolic link's target, or a directory's digest.
	Content Sum `json:"content"`
	// Meta is the sum of everything else that counts.
	Meta Sum `json:"meta"`
	// Totals are 1 file and its size, or what is below a directory, without itself.
	Totals Totals `json:"totals"`
	// Modified is for people and for counting only.
	Modified time.Time `json:"modified"`
	// Problem is set when the entry could not be read, and nothing else but Name and Kind holds then.
	Problem *Problem `json:"problem,omitempty"`

	// noted tells that there was a problem, or something was left out, in a directory or below.
	noted bool
}

// Directory is what a tree has in one directory, sorted by name.
type Directory struct {
	// Sum is the directory's digest, Settings the digest of the options that it was made with.
	Sum      Sum     `json:"sum"`
	Settings Sum     `json:"settings"`
	Totals   Totals  `json:"totals"`
	Entries  []Entry `json:"entries"`
}

// ProblemKind says what stands in the way of a digest.
type ProblemKind string

// The kinds of problems.
const (
	// Unreadable could not be opened, listed or read.
	Unreadable ProblemKind = "unreadable"
	// Unstable changed each time that it was read.
	Unstable ProblemKind = "unstable"
)

// Problem is something that keeps a tree from having a digest.
type Problem struct {
	// Path is below the tree's root, as bytes, empty for the root itself.
	Path []byte      `json:"path"`
	Kind ProblemKind `json:"kind"`
	// Message says what happened.
	Message string `json:"message"`
}

// Progress is how far Tree.Digest is.
type Progress struct {
	// Seen is what the walk has passed, Read what of it had to be read because the cache did not know it.
	Seen Totals `json:"seen"`
	Read Totals `json:"read"`
}

// listed is how many problems and skipped paths a snapshot holds at most; more are only counted.
const listed = 100

// Snapshot is a tree's digest at one time. Its fields must not be changed.
type Snapshot struct {
	// Sum is the digest of all of the tree. Equal sums mean equal trees, under equal settings.
	Sum Sum `json:"sum"`
	// Settings is the digest of the options that count.
	Settings Sum `json:"settings"`
	// Totals is what is in the tree, Read what of it was read this time.
	Totals Totals `json:"totals"`
	Read   Totals `json:"read"`
	// Problems are at most 100, sorted by path; ProblemCount counts all.
	Problems     []Problem `json:"problems,omitempty"`
	ProblemCount int       `json:"problem_count"`
	// Skipped are paths of sockets, FIFOs and devices, at most 100, sorted; SkippedCount counts all.
	Skipped      [][]byte `json:"skipped,omitempty"`
	SkippedCount int      `json:"skipped_count"`
	// Unfinished is what is left to do to the tree, or was done meanwhile, so that it may be equal with another one and yet not stay so; "" for nothing.
	// Whoever keeps the tree fills it in.
	Unfinished string `json:"unfinished,omitempty"`
	// Began and Took are when and how long.
	Began time.Time     `json:"began"`
	Took  time.Duration `json:"took"`
}

// Lister returns one directory of a tree, path "" for its root. A directory that is not there is an error that wraps
// fs.ErrNotExist. It is called from several goroutines at once.
type Lister interface {
	Directory(ctx context.Context, path string) (Directory, error)
}

// ListerFunc is a function as a Lister.
type ListerFunc func(ctx context.Context, path string) (Directory, error)

// Directory calls the function.
func (f ListerFunc) Directory(ctx context.Context, path string) (Directory, error) {
	return f(ctx, path)
}
