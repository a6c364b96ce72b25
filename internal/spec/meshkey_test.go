package spec_test

import (
	"testing"

	"github.com/atollhq/terraform-provider-atoll/internal/spec"
)

func TestKeyGeneration(t *testing.T) {
	for _, tt := range []struct {
		given, holds int
		good         bool
	}{{0, 1, true}, {1, 1, true}, {20261122, 20261122, true}, {-1, 1, false}, {1 << 31, 1 << 31, false}} {
		m := spec.DefaultMesh()
		m.KeyGeneration = tt.given
		if got := m.Generation(); got != tt.holds {
			t.Errorf("generation %d holds as %d, want %d", tt.given, got, tt.holds)
		}
		if problems := m.Validate(); (len(problems) == 0) != tt.good {
			t.Errorf("generation %d: %v", tt.given, problems)
		}
	}
}

func TestNewestKey(t *testing.T) {
	for _, tt := range []struct {
		name     string
		status   *spec.MeshKeyStatus
		newest   int
		rotating bool
	}{
		{"nothing is known", nil, 0, false},
		{"the first key", &spec.MeshKeyStatus{}, 0, false},
		{"the next one is prepared", &spec.MeshKeyStatus{Number: 1, Other: &spec.MeshKey{Number: 2}}, 2, true},
		{"the one before is still believed", &spec.MeshKeyStatus{Number: 2, Other: &spec.MeshKey{Number: 1}}, 2, true},
	} {
		if got := tt.status.Newest(); got != tt.newest || tt.status.Rotating() != tt.rotating {
			t.Errorf("%s: newest %d, rotating %t, want %d, %t", tt.name, got, tt.status.Rotating(), tt.newest, tt.rotating)
		}
	}
}
