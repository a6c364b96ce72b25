package nodeimage

import (
	"strconv"
	"strings"
)

// TagPrefix is what all tags begin with that Atoll puts on images at a cloud.
const TagPrefix = "atoll-"

const (
	tagSHA256       = TagPrefix + "sha256:"
	tagVersion      = TagPrefix + "version:"
	tagArchitecture = TagPrefix + "architecture:"
	tagWire         = TagPrefix + "wire:"
	tagDebian       = TagPrefix + "debian:"
)

// ContentTag is the tag by which an uploaded file is known again: its SHA-256 in hex. It has 77 characters.
func ContentTag(sha256 string) string { return tagSHA256 + sha256 }

// Tags are the tags that say what is in an image, to whoever sees nothing of it but what the cloud shows.
func (f Facts) Tags() []string {
	return []string{
		tagVersion + f.Version, tagArchitecture + f.Architecture, tagWire + strconv.Itoa(f.Wire), tagDebian + f.Debian,
	}
}

// Tagged is what an image's tags say. What they do not say is zero.
type Tagged struct {
	SHA256 string
	Facts
}

// ReadTags reads what ContentTag and Tags have written.
func ReadTags(tags []string) Tagged {
	var t Tagged
	for _, tag := range tags {
		for prefix, into := range map[string]*string{
			tagSHA256: &t.SHA256, tagVersion: &t.Version, tagArchitecture: &t.Architecture, tagDebian: &t.Debian,
		} {
			if value, ok := strings.CutPrefix(tag, prefix); ok {
				*into = value
			}
		}
		if value, ok := strings.CutPrefix(tag, tagWire); ok {
			t.Wire, _ = strconv.Atoi(value) // nonsense is as good as nothing
		}
	}
	return t
}
