// Package mark names what nodes have at vendors, so that it is found again: by labels, and by tags that nobody else uses.
package mark

import (
	"crypto/sha256"
	"encoding/hex"
	"regexp"
	"strings"
)

// maxTag is the longest tag that Linode takes.
const maxTag = 50

var hyphens = regexp.MustCompile(`-{2,}`)

// Cluster is what the marks of a cluster's things begin with, except for names so long that a hash stands for them.
func Cluster(cluster string) string { return "atoll:" + cluster + "/" }

// Node is the tag by which a node's things are known again.
func Node(cluster, name string) string {
	mark := Cluster(cluster) + name
	if len(mark) <= maxTag {
		return mark
	}
	sum := sha256.Sum256([]byte(mark))
	return "atoll:" + hex.EncodeToString(sum[:20])
}

// Label is the label of a node's thing, of at most longest characters. Linode allows no two hyphens in a row; what would not be unique
// any more gets a hash.
func Label(cluster, name string, longest int) string {
	whole := cluster + "-" + name
	label := hyphens.ReplaceAllString(whole, "-")
	if label == whole && len(label) <= longest {
		return label
	}
	sum := sha256.Sum256([]byte(cluster + "/" + name))
	tail := "-" + hex.EncodeToString(sum[:4])
	return strings.TrimRight(label[:min(len(label), longest-len(tail))], "-") + tail
}
