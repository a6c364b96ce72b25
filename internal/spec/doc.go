// Package spec is the cluster as data: one file for each kind of object, what makes it valid, and every enumeration listed once.
//
// It is the leaf of the import graph and uses the standard library only, so the provider, the agent and the tools share one
// vocabulary without sharing anything else. Nothing here does I/O; all values are safe to copy and to read concurrently.
package spec
