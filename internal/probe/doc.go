// Package probe measures every path between this node and others, each direction by itself: over the public network and over
// the mesh, how many packets arrive, how long a round trip takes, and how large a packet may be.
//
// # How
//
// Both ends of a pair send each other small UDP packets with a number, each at its own pace. Whoever receives them sees from
// the numbers how many of those that were sent have arrived: that is the loss of the one direction, and it does not depend on the
// other. Every packet also says which of the other's packets have arrived, so each end knows both directions while one of them
// works. Nothing is ever answered, so nobody can make a node send anything.
//
// Packets go to the mesh's own UDP port: what is measured is what a firewall does to the mesh. The receiver takes them
// from a raw socket with a kernel filter, beside the mesh's daemon and behind the firewall's input hook. They leave from a port of
// their own, so each direction is a flow of its own, and a firewall that lets the other side's packets in merely as answers does
// not hide that it would let in nothing else.
//
// Packets are authenticated with HMAC-SHA-256 and a key that only the two nodes have (trust.Identity.PairKey). Numbers and
// the time of the sender's start tell a new packet from an old one. An agent that was just started knows neither: until the
// first new packet arrives, somebody on the path could show it old ones, which would disturb a measurement and nothing else.
//
// # What it costs
//
// A packet has 122 bytes with its headers over IPv4. A node sends at most MostPublic a second over the public network and
// MostMesh over the mesh, however many peers there are, and large packets that find out how large one may be to no more than one
// peer every two seconds, and twice as many more to one where they seem not to arrive any more. After a loss it looks closer at one
// path at a time, which takes MostCloser more a second at most, for as long as losses are seen that may be noise. Sent by one node,
// the mesh's own overhead of 85 bytes included:
//
//	nodes   each peer, public   each peer, mesh   small packets   with large packets
//	    3   every 0.1 s         every 1 s         2.9 kB/s        3.6 kB/s
//	   10   every 0.18 s        every 1 s         8 kB/s          11 kB/s
//	   50   every 0.98 s        every 2.45 s      10 kB/s         14 kB/s
package probe
