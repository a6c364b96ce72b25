// Package nodeimage describes built node images: the manifest that stands beside an image's files and says what is in it,
// and the files themselves with their hashes.
//
// The image build writes manifests (internal/nodeimage/manifest is its command); the provider and the lab read them. Both
// sides are here so that they cannot drift.
package nodeimage
