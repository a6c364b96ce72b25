package gossip_test

import (
	"fmt"
	"slices"
	"testing"
	"time"

	"github.com/atollhq/terraform-provider-atoll/internal/spec"
	"github.com/atollhq/terraform-provider-atoll/internal/store"
)

// BenchmarkSpread measures how long an object takes that the operator gives to one node until every node has it on disk,
// and how long until the operator's call returns. Everything is real but the distances.
func BenchmarkSpread(b *testing.B) {
	for _, n := range []int{3, 5, 10, 20} {
		b.Run(fmt.Sprintf("nodes=%d", n), func(b *testing.B) {
			w := newWorld(b)
			agents := w.addMany(n)
			for _, a := range agents {
				a.boot(true)
			}
			w.introduce()
			w.converge(agents...)
			client := agents[0].operator()
			defer client.Close()
			key := store.ObjectKey(spec.Ref{Kind: spec.KindLink, Name: "n1.n2"})
			generation := uint64(0)
			var all []time.Duration
			for b.Loop() {
				generation++
				r := w.sign("n1.n2", generation, spec.Link{From: "n1", To: "n2"})
				begin := time.Now()
				if _, err := client.Push(b.Context(), []store.Record{r}); err != nil {
					b.Fatal(err)
				}
				for _, a := range agents {
					for {
						changed := a.store.Changed()
						if a.store.Digest()[key].Generation == generation {
							break
						}
						<-changed
					}
				}
				all = append(all, time.Since(begin))
			}
			slices.Sort(all)
			b.ReportMetric(float64(all[len(all)/2].Microseconds())/1000, "ms-median")
			b.ReportMetric(float64(all[len(all)-1].Microseconds())/1000, "ms-max")
		})
	}
}
