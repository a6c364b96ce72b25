//go:build linux

package nodes

import (
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"slices"
)

// recipe is raised whenever building from the same packages gives another root file system.
const recipe = 1

// Image describes a node's root file system. Equal descriptions share one cached build.
type Image struct {
	Suite    string   `json:"suite"`
	Packages []string `json:"packages"`
}

// DefaultImage is what every machine of the lab runs: Debian 13 with what Atoll's own images carry.
func DefaultImage() Image {
	return Image{Suite: "trixie", Packages: []string{
		"systemd", "systemd-sysv", "dbus", "openssh-server",
		"tinc", "nftables", "iproute2", "iputils-ping", "procps",
		"ca-certificates", "curl",
	}}
}

// Key identifies the build of a description: the suite and a hash over all of it.
func (i Image) Key() string {
	packages := slices.Clone(i.Packages)
	slices.Sort(packages)
	// Marshalling a struct of strings cannot fail.
	data, _ := json.Marshal(struct {
		Recipe int
		Image  Image
	}{recipe, Image{Suite: i.Suite, Packages: slices.Compact(packages)}})
	sum := sha256.Sum256(data)
	return i.Suite + "-" + hex.EncodeToString(sum[:8])
}
