package digest

// Request asks whoever keeps a Tree for a digest of it. Asked again with the same ID, it is the same request.
type Request struct {
	// ID is made by the caller.
	ID string `json:"id"`
	// Full asks for Tree.Digest, which looks at everything, and not for Tree.Update.
	Full bool `json:"full,omitempty"`
}

// Result is how a Request goes.
type Result struct {
	// Snapshot is the digest, nil while it is not done. It was begun after the request was first heard.
	Snapshot *Snapshot `json:"snapshot,omitempty"`
	// Progress is how far it is while it is not done.
	Progress Progress `json:"progress"`
}
