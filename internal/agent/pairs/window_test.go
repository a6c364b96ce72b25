package pairs_test

import (
	"testing"
	"testing/synctest"
	"time"

	"github.com/atollhq/terraform-provider-atoll/internal/replication"
	"github.com/atollhq/terraform-provider-atoll/internal/spec"
)

// TestHowOftenIsMeasured: the oftener the more somebody may wait for changes, and the less often the more it takes.
func TestHowOftenIsMeasured(t *testing.T) {
	for _, test := range []struct {
		name        string
		busy        bool
		round       time.Duration
		least, most int
	}{
		{"nothing changes", false, 50 * time.Millisecond, 12, 20},
		{"files change", true, 50 * time.Millisecond, 100, 120},
		{"nothing changes in a large tree", false, time.Second, 1, 2},
		{"files change in a large tree", true, time.Second, 15, 18},
		{"files change in a tree that is too large", true, time.Minute, 1, 2},
	} {
		t.Run(test.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				n := newNode(t, "hk1")
				n.sight.Pairs[0].Objective = 5
				n.takes = 20 * time.Millisecond
				n.start()
				said := replication.Status{State: spec.PairSynced, Started: time.Now(), Round: test.round}
				n.says(said)
				pass(5 * time.Second)
				first := n.canaries()
				for began := time.Now(); time.Since(began) < time.Hour; {
					if test.busy {
						said.Changed = time.Now()
					}
					n.says(said)
					pass(10 * time.Second)
				}
				if often := n.canaries() - first; often < test.least || often > test.most {
					t.Errorf("%d times in an hour, and not %d to %d times", often, test.least, test.most)
				}
			})
		})
	}
}

func TestCanariesOfTheLastHour(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		n := newNode(t, "hk1")
		n.sight.Pairs[0].Objective = 5
		n.takes = 100 * time.Millisecond
		n.start()
		said := replication.Status{State: spec.PairSynced, Started: time.Now()}
		if n.of().Lately != nil {
			t.Errorf("before the first: %+v", n.of().Lately)
		}
		work := func(long time.Duration) {
			for until := time.Now().Add(long); time.Now().Before(until); {
				said.Changed = time.Now()
				n.says(said)
				pass(10 * time.Second)
			}
		}
		work(30 * time.Minute)
		n.slowDown(2 * time.Second)
		work(time.Minute)
		n.slowDown(100 * time.Millisecond)
		work(20 * time.Minute)
		got := n.of().Lately
		if got == nil || got.P50 > 0.2 || got.P99 < 2 || got.Max < 2 || got.Canaries < 90 || got.Canaries > 120 || time.Since(got.From) < 50*time.Minute {
			t.Errorf("two of many took long: %+v", got)
		}
		work(70 * time.Minute)
		got = n.of().Lately
		if got == nil || got.Max > 0.2 || got.P99 < 0.1 || got.Canaries > 120 || time.Since(got.From) > time.Hour+time.Minute {
			t.Errorf("when that is long ago: %+v", got)
		}
		n.says(replication.Status{State: spec.PairDisconnected, Started: said.Started})
		pass(2 * time.Hour)
		if n.of().Lately != nil {
			t.Errorf("when there was none for hours: %+v", n.of().Lately)
		}
	})
}
