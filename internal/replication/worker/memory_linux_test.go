package worker_test

import (
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/atollhq/terraform-provider-atoll/internal/replication/worker"
)

// TestShortOfMemory follows the files of a control group: only what is needed, and held back again and again, is a matter of the limit.
func TestShortOfMemory(t *testing.T) {
	t.Parallel()
	const mib = 1 << 20
	type span struct {
		// looks of ten seconds each, in which the limit is met so many times.
		looks, met int
		anon, file int64
	}
	for _, tt := range []struct {
		name, limit string
		spans       []span
		want        bool
	}{
		{"all is well", "134217728", []span{{100, 0, 100 * mib, 20 * mib}}, false},
		{"always at the limit", "134217728", []span{{10, 50, 127 * mib, 0}}, true},
		{"for half a minute", "134217728", []span{{3, 50, 127 * mib, 0}, {1, 0, 127 * mib, 0}, {3, 50, 127 * mib, 0}}, false},
		{"what is kept of files gives way", "134217728", []span{{100, 50, 30 * mib, 98 * mib}}, false},
		{"it has passed", "134217728", []span{{10, 50, 127 * mib, 0}, {7, 0, 60 * mib, 0}}, false},
		{"it has passed for a moment", "134217728", []span{{10, 50, 127 * mib, 0}, {2, 0, 60 * mib, 0}}, true},
		{"no limit", "max", []span{{100, 50, 500 * mib, 0}}, false},
	} {
		t.Run(tt.name, func(t *testing.T) {
			group, now, met := t.TempDir(), time.Now(), 0
			p := worker.NewPressure(group)
			said := ""
			for _, s := range tt.spans {
				for range s.looks {
					met += s.met
					for name, text := range map[string]string{
						"memory.high":   tt.limit + "\n",
						"memory.events": fmt.Sprintf("low 0\nhigh %d\nmax 0\noom 0\noom_kill 0\noom_group_kill 0\n", met),
						"memory.stat":   fmt.Sprintf("anon %d\nfile %d\nkernel 4096\nslab_reclaimable 99\nslab_unreclaimable 1024\n", s.anon, s.file),
					} {
						if err := os.WriteFile(filepath.Join(group, name), []byte(text), 0o600); err != nil {
							t.Fatal(err)
						}
					}
					// The status is asked for more often than it is looked.
					for range 10 {
						said = p.Warning(now)
						now = now.Add(time.Second)
					}
				}
			}
			if got := strings.Contains(said, "may use 128 MiB of memory and need more"); got != tt.want || !tt.want && said != "" {
				t.Errorf("it says %q", said)
			}
		})
	}
	if said := worker.NewPressure("").Warning(time.Now()); said != "" {
		t.Errorf("without a control group it says %q", said)
	}
}
