//go:build linux

package imagetest_test

import (
	"strings"
	"testing"

	"github.com/atollhq/terraform-provider-atoll/internal/nodeimage"
)

// An image grows to more than this only when somebody means it to: packages, and bytes of the compressed disk, with nothing but
// the engine of this name in it, "" for none.
var largest = map[string]struct {
	packages int
	bytes    int64
}{
	"":      {270, 200 << 20},
	"mysql": {290, 260 << 20},
}

func isSmall(t *testing.T, _ *site) {
	_, path := require(t)
	m, _, err := nodeimage.Read(path)
	if err != nil {
		t.Fatal(err)
	}
	size := m.Files[nodeimage.KindRaw].Size
	engines := strings.Join(m.Databases, " ")
	t.Logf("the image has %d packages, the engines %q and %d bytes", m.Packages, engines, size)
	most, told := largest[engines]
	if !told {
		t.Skipf("NOBODY SAYS HOW LARGE AN IMAGE WITH %s MAY BE", engines)
	}
	if m.Packages > most.packages || size > most.bytes {
		t.Errorf("the image has %d packages and %d bytes compressed, want at most %d and %d", m.Packages, size, most.packages, most.bytes)
	}
}
