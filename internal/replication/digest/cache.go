package digest

import (
	"sync"
)

// inode is a file, whatever its names are.
type inode struct{ dev, ino uint64 }

// stamp is what changes when a file's content or attributes do. The kernel sets ctime at every change and lets nobody else
// set it. The one known exception is a program that writes by mmap: its later writes to a page move the times only once
// the page has been written back, at most some 30 s later by the kernel's defaults.
type stamp struct {
	size, mtime, ctime int64 // bytes, nanoseconds since 1970
}

// known is what the cache knows of a file.
type known struct {
	stamp   stamp
	content Sum
	// attributed tells that the file has attributes, whose sum is in shard.attributes.
	attributed bool
	// round is the last walk that saw the file.
	round uint32
}

// shards is how many locks the cache has, so that several workers rarely wait for each other.
const shards = 64

// cache remembers contents. It is safe for concurrent use. There are no pointers in its large maps, so that the garbage
// collector passes by.
type cache struct {
	limit  int // files in one shard, 0 for no bound
	shards [shards]shard
}

type shard struct {
	mu         sync.Mutex
	files      map[inode]known
	attributes map[inode]Sum
}

func newCache(limit int) *cache {
	c := &cache{}
	if limit > 0 {
		c.limit = max(1, limit/shards)
	}
	for i := range c.shards {
		c.shards[i].files, c.shards[i].attributes = map[inode]known{}, map[inode]Sum{}
	}
	return c
}

func (c *cache) shard(id inode) *shard { return &c.shards[(id.ino^id.dev)%shards] }

// get returns the sums of a file that has not changed since they were made.
func (c *cache) get(id inode, s stamp, round uint32) (content, attributes Sum, ok bool) {
	sh := c.shard(id)
	sh.mu.Lock()
	defer sh.mu.Unlock()
	k, ok := sh.files[id]
	if !ok || k.stamp != s {
		return Sum{}, Sum{}, false
	}
	if k.round < round {
		k.round = round
		sh.files[id] = k
	}
	if k.attributed {
		attributes = sh.attributes[id]
	}
	return k.content, attributes, true
}

func (c *cache) put(id inode, k known, attributes Sum) {
	k.attributed = attributes != Sum{}
	sh := c.shard(id)
	sh.mu.Lock()
	defer sh.mu.Unlock()
	if _, there := sh.files[id]; !there && c.limit > 0 && len(sh.files) >= c.limit {
		return
	}
	sh.files[id] = k
	if k.attributed {
		sh.attributes[id] = attributes
	} else {
		delete(sh.attributes, id)
	}
}

// drop forgets a file that turned out to be too young.
func (c *cache) drop(id inode) {
	sh := c.shard(id)
	sh.mu.Lock()
	defer sh.mu.Unlock()
	delete(sh.files, id)
	delete(sh.attributes, id)
}

// sweep forgets files that the last whole walk did not see.
func (c *cache) sweep(round uint32) {
	for i := range c.shards {
		sh := &c.shards[i]
		sh.mu.Lock()
		for id, k := range sh.files {
			if k.round != round {
				delete(sh.files, id)
				delete(sh.attributes, id)
			}
		}
		sh.mu.Unlock()
	}
}

// len is how many files are known.
func (c *cache) len() int {
	n := 0
	for i := range c.shards {
		sh := &c.shards[i]
		sh.mu.Lock()
		n += len(sh.files)
		sh.mu.Unlock()
	}
	return n
}
