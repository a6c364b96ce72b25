//go:build linux

package imagetest_test

import (
	"testing"

	"github.com/atollhq/terraform-provider-atoll/internal/nodeimage"
)

// An image without database engines grows to more than this only when somebody means it to: packages, and bytes of the
// compressed disk.
const (
	mostPackages = 270
	mostBytes    = 200 << 20
)

func isSmall(t *testing.T, _ *site) {
	_, path := require(t)
	m, _, err := nodeimage.Read(path)
	if err != nil {
		t.Fatal(err)
	}
	size := m.Files[nodeimage.KindRaw].Size
	t.Logf("the image has %d packages and %d bytes", m.Packages, size)
	if len(m.Databases) == 0 && (m.Packages > mostPackages || size > mostBytes) {
		t.Errorf("the image has %d packages and %d bytes compressed, want at most %d and %d", m.Packages, size, mostPackages, mostBytes)
	}
}
