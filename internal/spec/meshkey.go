package spec

import "time"

// MeshKeyStatus is what a node says of its mesh keys. The private ones never leave it; what it says here is signed by its identity,
// like all of its status, and is what the others believe.
type MeshKeyStatus struct {
	Driver MeshDriver `json:"driver"`
	// Number tells the node's keys apart: 0 is the one that it joined with, each later one has one more.
	Number int `json:"number"`
	// Public is the key in use, "" for the one in the node's proof of membership.
	Public string `json:"public,omitempty"`
	// Made is when the key was made, by the node's clock.
	Made time.Time `json:"made"`
	// Generation is the cluster's key generation that the key was made for.
	Generation int `json:"generation"`
	// Other is a second key that the node is to be believed under: the one that is to follow, before the node changes to it, or the one
	// that was in use, for a moment after. Nil while there is none.
	Other *MeshKey `json:"other,omitempty"`
	// Waits says for people what keeps a rotation of the node's key from going on, "" while nothing does.
	Waits string `json:"waits,omitempty"`
	// Takes holds the number of the newest key of each other node that this node's mesh has taken over, for those that have changed
	// their key or are about to.
	Takes map[string]int `json:"takes,omitempty"`
}

// MeshKey is one public key of a node's mesh.
type MeshKey struct {
	Number int    `json:"number"`
	Public string `json:"public"`
}

// Rotating tells whether the node's key is being changed.
func (s *MeshKeyStatus) Rotating() bool { return s != nil && s.Other != nil }

// Newest returns the number of the newest key that the node has announced.
func (s *MeshKeyStatus) Newest() int {
	if s == nil {
		return 0
	}
	if s.Other != nil && s.Other.Number > s.Number {
		return s.Other.Number
	}
	return s.Number
}

// Generation returns the key generation that holds: keys that were made for an older one are to be replaced.
func (m Mesh) Generation() int { return max(1, m.KeyGeneration) }

// maxKeyGeneration leaves room for a date as a number (20261122) and for seconds since 1970.
const maxKeyGeneration = 1 << 31

func (m Mesh) validateGeneration() Problems {
	var ps Problems
	if m.KeyGeneration < 0 || m.KeyGeneration >= maxKeyGeneration {
		ps.add("key_generation", "count from 1", "%d is not between 1 and %d", m.KeyGeneration, maxKeyGeneration-1)
	}
	return ps
}
