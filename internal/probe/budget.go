package probe

import "time"

// What a node sends at most, in packets a second to all peers together, and how often to one peer at most.
const (
	MostPublic = 50
	MostMesh   = 20

	oftenPublic = 100 * time.Millisecond
	oftenMesh   = time.Second
	// Packets of all sizes go to a peer once in sizesOften, and no node sends more than one in sizesApart.
	sizesOften = 20 * time.Second
	sizesApart = 500 * time.Millisecond
)

// Interval returns how often each of so many peers is sent a packet by a path.
func Interval(path Path, peers int) time.Duration {
	often, most := oftenPublic, time.Duration(MostPublic)
	if path == Mesh {
		often, most = oftenMesh, MostMesh
	}
	return max(often, time.Duration(peers)*time.Second/most)
}

// sizes are the packets that find out about the largest one, in bytes with their IP header: what every path must take, what is left
// inside of WireGuard and of PPPoE, and Ethernet's.
func sizes() []int { return []int{1280, 1420, 1492, 1500} }

// sizesEvery is how often packets of all sizes go to each of so many peers.
func sizesEvery(peers int) time.Duration {
	return max(sizesOften, time.Duration(peers*len(sizes()))*sizesApart)
}

// sizesMemory is how long one of them counts: some may get lost.
func sizesMemory(peers int) time.Duration { return 5*sizesEvery(peers)/2 + 5*time.Second }

const (
	// LeastLarge is the smallest of the packets that find out about the largest one, in bytes with its IP header.
	LeastLarge = 1280
	// MeshNeeds is how large a packet a link should carry, so that the mesh never has to take another way for large ones.
	MeshNeeds = 1492
)
