package digest

// Part is one of the directory trees that a node has of a pair.
type Part string

// The parts of a pair.
const (
	// Hot is the tree itself, Cold the root that old directories of it were moved to.
	Hot  Part = ""
	Cold Part = "cold"
)

// Request asks whoever keeps a Tree for a digest of it. Asked again with the same ID, it is the same request.
type Request struct {
	// ID is made by the caller.
	ID string `json:"id"`
	// Full asks for Tree.Digest, which looks at everything, and not for Tree.Update.
	Full bool `json:"full,omitempty"`
	// Part is which tree.
	Part Part `json:"part,omitempty"`
}

// Result is how a Request goes.
type Result struct {
	// Snapshot is the digest, nil while it is not done. It was begun after the request was first heard.
	Snapshot *Snapshot `json:"snapshot,omitempty"`
	// Progress is how far it is while it is not done.
	Progress Progress `json:"progress"`
}
