package loadbalancer

import (
	"crypto/sha256"
	"encoding/hex"
	"regexp"
	"strings"
)

// maxName and maxMark bound the names and descriptions of what is made. The vendor publishes a bound only for the comment of a DNS
// record: 100 characters without a paid plan.
const (
	maxName = 100
	maxMark = 90
)

var notInName = regexp.MustCompile(`[^A-Za-z0-9-]+`)

// poolName is the name of a site's pool, unique in the account: a hostname has no underscore and no two dots in a row. What would
// not be unique any more gets a hash.
func poolName(hostname, site string) string {
	clean := notInName.ReplaceAllString(site, "-")
	name := strings.ReplaceAll(hostname, ".", "_") + "__" + clean
	if clean == site && len(name) <= maxName {
		return name
	}
	return hashed(name, hostname+"/"+site, maxName)
}

// markPrefix begins every mark.
const markPrefix = "atoll:"

// mark is the description by which what belongs to a hostname, and there to a site or a node, is known again.
func mark(hostname, part string) string {
	text := markPrefix + hostname
	if part != "" {
		text += "/" + part
	}
	if len(text) <= maxMark {
		return text
	}
	return hashed(text, text, maxMark)
}

// marked returns the site or node of a mark of the hostname.
func marked(hostname, text string) (part string, ok bool) {
	if text == mark(hostname, "") {
		return "", true
	}
	part, ok = strings.CutPrefix(text, markPrefix+hostname+"/")
	return part, ok
}

// hashed shortens text to limit characters, of which the last are a hash of whole.
func hashed(text, whole string, limit int) string {
	sum := sha256.Sum256([]byte(whole))
	tail := "-" + hex.EncodeToString(sum[:5])
	return strings.TrimRight(text[:min(len(text), limit-len(tail))], "-_") + tail
}
