// Package replicationtest holds the tests that every driver of package replication passes: two machines of this one, a tree on each,
// real programs, and a way between them that the tests cut.
package replicationtest
