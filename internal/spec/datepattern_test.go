package spec_test

import (
	"errors"
	"testing"
	"time"

	"github.com/atollhq/terraform-provider-atoll/internal/spec"
)

func TestDatePattern(t *testing.T) {
	t.Parallel()
	now := time.Date(2026, 11, 21, 12, 0, 0, 0, time.UTC)
	for _, tt := range []struct {
		pattern, path string
		days          int
		due           bool
	}{
		{"YYYY/MM/DD", "2026/11/19", 1, true},
		{"YYYY/MM/DD", "2026/11/20", 1, false}, // it has ended 12 hours ago
		{"YYYY/MM/DD", "2026/11/21", 1, false},
		{"YYYY/MM/DD", "2027/01/01", 1, false},
		{"YYYY/MM/DD", "2026/10/21", 30, true},
		{"YYYY/MM/DD", "2026/10/22", 30, false},
		{"YYYY/MM/DD", "2026/02/29", 30, false}, // there is no such day
		{"YYYY/MM/DD", "2024/02/29", 30, true},
		{"YYYY/MM/DD", "2026/13/01", 1, false},
		{"YYYY/MM/DD", "2026/10", 1, false},
		{"YYYY/MM/DD", "2026/10/01/x", 1, false},
		{"YYYY/MM/DD", "x/2026/10/01", 1, false},
		{"YYYY/MM/DD", "2026/10/1", 1, false},
		{"YYYY/MM", "2026/10", 20, true},
		{"YYYY/MM", "2026/10", 21, false}, // the month has ended 20 days ago
		{"YYYY", "2025", 300, true},
		{"YYYY", "2026", 1, false},
		{"media/*/YYYY-MM-DD", "media/a b\nc/2026-01-02", 1, true},
		{"media/*/YYYY-MM-DD", "media/.hidden/2026-01-02", 1, false},
		{"day.YYYYMMDD", "day.20260102", 1, true},
		{"day.YYYYMMDD", "dayx20260102", 1, false},
	} {
		p, err := spec.ParseDatePattern(tt.pattern)
		if err != nil {
			t.Fatal(err)
		}
		if got := p.Due(tt.path, tt.days, now); got != tt.due {
			t.Errorf("%s, %q, %d days: due is %t", tt.pattern, tt.path, tt.days, got)
		}
	}
}

func TestNoDatePattern(t *testing.T) {
	t.Parallel()
	for _, text := range []string{"", "/YYYY", "YYYY/", "YYYY//MM", "MM/YYYY", "YYYY/DD", "YYYY/MM/MM", "x/y", "YYYY/x", "YYYY/*", "../YYYY", ".x/YYYY", "*x/YYYY", "a b/YYYY", "ä/YYYY", "YYYY/MM/DD/YYYY"} {
		_, err := spec.ParseDatePattern(text)
		var wrong *spec.DatePatternError
		if !errors.As(err, &wrong) || wrong.Pattern != text {
			t.Errorf("%q: got %v", text, err)
		}
	}
}

func TestDatePatternNames(t *testing.T) {
	t.Parallel()
	p, err := spec.ParseDatePattern("media/YYYY/MM")
	if err != nil || p.Depth() != 3 || p.String() != "media/YYYY/MM" {
		t.Fatalf("got %v, %v", p, err)
	}
	for _, tt := range []struct {
		depth int
		name  string
		is    bool
	}{{0, "media", true}, {0, "2026", false}, {1, "2026", true}, {2, "07", true}, {3, "07", false}} {
		if got := p.MatchName(tt.depth, tt.name); got != tt.is {
			t.Errorf("%d %q: got %t", tt.depth, tt.name, got)
		}
	}
}
