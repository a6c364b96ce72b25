// Package store holds the replicated state of a cluster on one node: signed objects, proofs of membership and signed
// statuses. Records may arrive in any order, from anybody and any number of times; stores that have seen the same records
// hold the same state. What Merge has accepted is on disk before Merge returns.
//
// An object is a register in which the higher generation wins. A node has a second register for its newest tombstone,
// which is kept when the node is made again: it revokes the tickets from before, so that they cannot be replayed.
package store
