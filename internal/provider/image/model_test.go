package image_test

import (
	"regexp"
	"strings"
	"testing"
	"time"

	"github.com/atollhq/terraform-provider-atoll/internal/nodeimage"
	"github.com/atollhq/terraform-provider-atoll/internal/provider/image"
)

// TestDefaults demands labels that Linode takes: 1 to 50 letters, digits and a few signs.
func TestDefaults(t *testing.T) {
	t.Parallel()
	taken := regexp.MustCompile(`^[a-zA-Z0-9,.?\-_\s']{1,50}$`)
	facts := func(version string, databases ...string) *nodeimage.Facts {
		return &nodeimage.Facts{
			Version: version, Architecture: "amd64", Debian: "trixie", Databases: databases, Built: time.Date(2026, 11, 21, 6, 0, 0, 0, time.UTC),
		}
	}
	tests := []struct {
		source             nodeimage.Source
		label, description string
	}{
		{nodeimage.Source{Facts: facts("0.1.0")}, "atoll-node-0.1.0", "Atoll 0.1.0 node image, Debian trixie, amd64, built 2026-11-21"},
		{nodeimage.Source{Facts: facts("0.1.0~rc1+5", "mysql")}, "atoll-node-0.1.0-rc1-5", "Atoll 0.1.0~rc1+5 node image, Debian trixie, amd64, built 2026-11-21, with mysql"},
		{nodeimage.Source{Facts: facts(strings.Repeat("1", 64))}, "atoll-node-" + strings.Repeat("1", 39), ""},
		{nodeimage.Source{Path: "/srv/my node (2).img.gz"}, "my node -2-", "Atoll node image from my node (2).img.gz"},
		{nodeimage.Source{Path: ".img.gz"}, "atoll-node", ""},
	}
	for _, tt := range tests {
		label := image.DefaultLabel(tt.source)
		if !taken.MatchString(label) || strings.TrimRight(tt.label, "-") != label {
			t.Errorf("got label %q, want %q", label, tt.label)
		}
		if got := image.DefaultDescription(tt.source); tt.description != "" && got != tt.description {
			t.Errorf("got description %q, want %q", got, tt.description)
		}
	}
}
