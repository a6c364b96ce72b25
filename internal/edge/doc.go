// Package edge takes the endpoint of a dead node out of a load balancer's pools at the vendor, long before the vendor's own
// monitors would, and gives it back when the node is well.
//
// What may be done follows from what all nodes of the load balancer report of each other: Agree finds whom most of them see dead
// or well, Memory keeps a node that has come back out for a while, Plan never takes the last endpoint. These are pure. An Actor
// does what follows: it looks at the vendor's pools, never trusts what it remembers of them, and is one of several of which the
// first that can does the work, while the others look whether it is done. Nothing here votes, elects or locks: whatever one actor
// does wrong or twice, the next look of any of them repairs.
package edge
