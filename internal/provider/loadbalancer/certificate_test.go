package loadbalancer_test

import (
	"testing"
	"time"

	"github.com/atollhq/terraform-provider-atoll/internal/provider/loadbalancer"
)

// TestDue renews when a third of the time is left, or 90 days, whichever is less.
func TestDue(t *testing.T) {
	t.Parallel()
	now := time.Date(2026, 11, 21, 9, 0, 0, 0, time.UTC)
	const day = 24 * time.Hour
	tests := []struct {
		name string
		days int64
		left time.Duration
		want bool
	}{
		{"just issued", 5475, 5475 * day, false},
		{"91 of 15 years", 5475, 91 * day, false},
		{"89 of 15 years", 5475, 89 * day, true},
		{"11 of 30 days", 30, 11 * day, false},
		{"9 of 30 days", 30, 9 * day, true},
		{"over", 365, -day, true},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			if got := loadbalancer.Due(now.Add(tt.left), tt.days, now); got != tt.want {
				t.Errorf("due is %v, want %v", got, tt.want)
			}
		})
	}
}
