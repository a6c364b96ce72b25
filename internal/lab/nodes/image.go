//go:build linux

package nodes

import (
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"slices"

	"github.com/atollhq/terraform-provider-atoll/images"
)

// recipe is raised whenever building from the same description gives another root file system.
const recipe = 3

// Image describes a node's root file system. Equal descriptions share one cached build.
type Image struct {
	Suite    string   `json:"suite"`
	Packages []string `json:"packages"`
	// Unstable are packages of Debian's unstable, which come with what they need of it that Suite does not have.
	Unstable []string `json:"unstable,omitempty"`
	// Description identifies the files and scripts of the image that are applied to the packages.
	Description string `json:"description"`
}

// DefaultImage is what every machine of the lab runs: what Atoll's own images carry, from the same description, without what
// only a machine with a kernel and a clock of its own can use.
func DefaultImage() Image {
	packages, err := images.Packages(images.ContainerLists()...)
	if err != nil {
		panic(err) // the lists are part of the program
	}
	unstable, err := images.Packages(images.UnstableLists()...)
	if err != nil {
		panic(err) // as above
	}
	return Image{Suite: images.Suite, Packages: packages, Unstable: unstable, Description: images.Digest()}
}

// Key identifies the build of a description: the suite and a hash over all of it.
func (i Image) Key() string {
	normal := func(packages []string) []string { return slices.Compact(slices.Sorted(slices.Values(packages))) }
	// Marshalling a struct of strings cannot fail.
	data, _ := json.Marshal(struct {
		Recipe int
		Image  Image
	}{recipe, Image{Suite: i.Suite, Packages: normal(i.Packages), Unstable: normal(i.Unstable), Description: i.Description}})
	sum := sha256.Sum256(data)
	return i.Suite + "-" + hex.EncodeToString(sum[:8])
}
