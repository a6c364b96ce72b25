// Package gossip spreads a node's store to the other nodes, by three ways that fail for different reasons. Pusher sends
// what this node is the first to know straight to every member and waits for the acknowledgement. Gossip (memberlist over
// the mesh) announces and repairs within a second, and tells who is alive. Syncer compares digests with other members
// over HTTPS, over their public addresses when the mesh is down, so that the control plane never depends on what it
// configures.
package gossip
