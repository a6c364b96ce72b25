// Package snapshot keeps copies of a replicated tree from before a change, on the node where the change is made, and puts a tree back to one.
//
// # What a snapshot is
//
// A snapshot is a directory that only root may enter, outside of the tree:
//
//	DIR/ID/tree           the copy: what the pair keeps equal, and nothing of what it excludes
//	DIR/ID/snapshot.json  what it is, written last: without it the copy is not whole
//
// Files are cloned where the file system can (FICLONE: XFS, Btrfs), which takes neither time nor room; elsewhere they are copied, and there has to
// be room for them before anything is begun. Owners, modes, times, extended attributes, ACLs, holes and hard links are kept. That the copy is
// whole is not assumed: it is read once more, and its digest has to be that of the tree (package digest), which is what the nodes of the pair
// compare among themselves.
//
// # How a tree is put back
//
// The copy is read again first; when its digest is not what it was, nothing is done. Then what differs between copy and tree is put back, path by
// path, so that programs which replicate see ordinary changes. Each step is one rename(2) within the tree's own file system:
//
//	in the tree  in the copy  step
//	nothing      something    a new copy of it is moved into its place, unless something is there by then
//	something    nothing      it is moved aside
//	other        something    a new copy of it is exchanged with what is there (RENAME_EXCHANGE), which so comes to be aside
//	directory    directory    only its mode and attributes are set
//
// What was in the tree is never removed: it is aside, in TREE/.atoll/replaced/PAIR/ID, until the snapshot is removed. The steps need no journal:
// whoever was interrupted compares again and goes on. It has ended when the digest of the tree is that of the snapshot.
package snapshot

import (
	"fmt"
	"regexp"
	"time"

	"github.com/atollhq/terraform-provider-atoll/internal/replication/digest"
)

// Action is what is to be done.
type Action string

// The actions.
const (
	// Check says whether there is room for a snapshot, and does nothing.
	Check Action = "check"
	// Take makes a snapshot, or finds the one that is there.
	Take Action = "take"
	// Restore puts the tree back.
	Restore Action = "restore"
	// List says what there is; its ID is not looked at.
	List Action = "list"
	// Remove removes a snapshot and what was put aside when it was restored. One that is not there is no error.
	Remove Action = "remove"
)

// Request asks for an action. Asked again while it is under way, it is the same request.
type Request struct {
	Action Action `json:"action"`
	ID     string `json:"id,omitempty"`
}

// Result is how a request goes.
type Result struct {
	// Done tells that it has ended.
	Done bool `json:"done"`
	// Progress is how far it is.
	Progress Progress `json:"progress"`
	// Snapshots are all that there are (List), or the one that was asked for.
	Snapshots []Snapshot `json:"snapshots,omitempty"`
	// Room is what Check has found.
	Room *Room `json:"room,omitempty"`
	// Restored is what Restore has done.
	Restored *Restored `json:"restored,omitempty"`
}

// Progress is how far an action is.
type Progress struct {
	// Doing says what it is about, in a few words.
	Doing string `json:"doing,omitempty"`
	// Now is what is done, All what there is to do, as far as that is known.
	Now digest.Totals `json:"now"`
	All digest.Totals `json:"all"`
}

// Method is how files got into a snapshot.
type Method string

// The methods.
const (
	// Cloned files share their blocks with those of the tree until either changes.
	Cloned Method = "cloned"
	// Copied files take room of their own.
	Copied Method = "copied"
)

// Snapshot is one copy of a tree.
type Snapshot struct {
	ID   string `json:"id"`
	Pair string `json:"pair"`
	Node string `json:"node"`
	// Tree is what it is a copy of, Path where it is.
	Tree string `json:"tree"`
	Path string `json:"path"`
	// Taken is when it was whole; zero for one that is not.
	Taken time.Time `json:"taken,omitzero"`
	// Digest is that of the tree and of the copy, made with these Settings. Totals is what is in it.
	Digest   digest.Sum    `json:"digest"`
	Settings digest.Sum    `json:"settings"`
	Totals   digest.Totals `json:"totals"`
	Method   Method        `json:"method,omitempty"`
	// Replaced is where things were put aside when the tree was put back to this one, "" when nothing was.
	Replaced string `json:"replaced,omitempty"`
}

// Whole tells whether the snapshot can be used.
func (s Snapshot) Whole() bool { return !s.Taken.IsZero() }

// Room says what a snapshot needs and what there is. Bytes and inodes that are not to be counted are -1.
type Room struct {
	// Dir is where it would be, Method how its files would get there.
	Dir    string `json:"dir"`
	Method Method `json:"method"`
	// Device tells its file system from others of the node.
	Device uint64 `json:"device"`
	// Totals is what is in the tree.
	Totals      digest.Totals `json:"totals"`
	NeedBytes   int64         `json:"need_bytes"`
	FreeBytes   int64         `json:"free_bytes"`
	NeedInodes  int64         `json:"need_inodes"`
	FreeInodes  int64         `json:"free_inodes"`
	SpareBytes  int64         `json:"spare_bytes"`
	SpareInodes int64         `json:"spare_inodes"`
}

// Restored counts the paths that were put back.
type Restored struct {
	// Added were missing, Removed were new, Changed had another content, type, mode or attributes.
	Added   int `json:"added"`
	Removed int `json:"removed"`
	Changed int `json:"changed"`
	// Replaced is where everything is that was in the tree and is not any more, "" for nothing.
	Replaced string `json:"replaced,omitempty"`
	// Digest is the tree's afterwards, which is the snapshot's.
	Digest digest.Sum `json:"digest"`
}

// RefusedError is why something was not done that would be refused again as long as nothing changes. What it was about is as it was.
type RefusedError struct {
	Pair   string
	Reason string
}

// Error returns the pair and the reason.
func (e *RefusedError) Error() string { return fmt.Sprintf("pair %s: %s", e.Pair, e.Reason) }

// ids are what may be an ID: it becomes the name of a directory.
var ids = regexp.MustCompile(`^[a-z0-9][a-z0-9-]{0,39}$`)

// ValidID tells whether a text may be the ID of a snapshot: lower-case letters, digits and hyphens, at most 40.
func ValidID(id string) bool { return ids.MatchString(id) }
