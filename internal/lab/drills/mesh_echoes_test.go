//go:build linux

package drills_test

import (
	"fmt"
	"math"
	"testing"
	"time"

	"github.com/atollhq/terraform-provider-atoll/internal/lab/drills"
)

// TestEchoes counts echoes that ping tells of: 50 a second for two minutes, of which some are not answered.
func TestEchoes(t *testing.T) {
	t.Parallel()
	start := time.Unix(1_700_000_000, 0)
	fault := start.Add(10*time.Second + time.Millisecond)
	for _, tt := range []struct {
		name string
		lost func(number int) bool
		// failed and share are what is to be counted of 5,500 echoes after the fault, and of the 3,000 in the minute after it.
		failed, until int
		share         float64
		gap, outage   time.Duration
	}{
		{"all answered", func(int) bool { return false }, 0, 0, 1, 20 * time.Millisecond, 0},
		{"one outage of a second", func(n int) bool { return n > 501 && n <= 551 }, 50, 2, 2950.0 / 3000, 1020 * time.Millisecond, 1039 * time.Millisecond},
		{"before the fault", func(n int) bool { return n < 400 && n%2 == 1 }, 0, 0, 1, 20 * time.Millisecond, 0},
		{"every second one for ten seconds", func(n int) bool { return n > 501 && n <= 1001 && n%2 == 1 }, 250, 11, 2750.0 / 3000, 40 * time.Millisecond, 10019 * time.Millisecond},
		{"after the minute", func(n int) bool { return n == 4001 }, 1, 0, 1, 40 * time.Millisecond, 70039 * time.Millisecond},
	} {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			lines := []string{"PING 10.66.0.2 (10.66.0.2) 56(84) bytes of data."}
			for number := 1; number <= 6000; number++ {
				if at := start.Add(time.Duration(number) * 20 * time.Millisecond); !tt.lost(number) {
					lines = append(lines, fmt.Sprintf("[%.6f] 64 bytes from 10.66.0.2: icmp_seq=%d ttl=64 time=0.9 ms", float64(at.UnixMicro())/1e6, number))
				}
			}
			lines = append(lines, "--- 10.66.0.2 ping statistics ---")
			seen, share, until, missing, gap := drills.Echoes(lines, fault)
			if seen.Asked != 5500 || seen.Failed != tt.failed || missing != tt.failed || until != tt.until || math.Abs(share-tt.share) > 0.0005 {
				t.Errorf("asked %d, failed %d, missing %d, share %.4f, until second %d; want 5500, %d, share %.4f, second %d", seen.Asked, seen.Failed, missing, share, until, tt.failed, tt.share, tt.until)
			}
			if d := gap - tt.gap; d.Abs() > time.Millisecond {
				t.Errorf("longest gap %s, want %s", gap, tt.gap)
			}
			if d := seen.Outage - tt.outage; d.Abs() > 21*time.Millisecond {
				t.Errorf("outage %s, want %s", seen.Outage, tt.outage)
			}
		})
	}
}
