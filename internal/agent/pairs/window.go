package pairs

import (
	"slices"
	"time"

	"github.com/atollhq/terraform-provider-atoll/internal/spec"
)

const (
	// windowFor is how long what a canary took counts, and windowMost how many canaries do at most: as many as there are when one follows the other as soon
	// as it may.
	windowFor  = time.Hour
	windowMost = int(windowFor / probeFirst)
)

// window holds how long the last canaries took, in the order in which they arrived. Its zero value is an empty one.
type window []sample

type sample struct {
	at   time.Time
	took float64
}

// add returns the window with one more.
func (w window) add(at time.Time, took float64) window {
	return append(w[max(0, len(w)-windowMost+1):], sample{at, took})
}

// since returns what still counts at a moment.
func (w window) since(now time.Time) window {
	first := slices.IndexFunc(w, func(s sample) bool { return now.Sub(s.at) <= windowFor })
	if first < 0 {
		return nil
	}
	return w[first:]
}

// said sums it up, nil for an empty one.
func (w window) said() *spec.PairPropagation {
	if len(w) == 0 {
		return nil
	}
	all := make([]float64, len(w))
	for i, s := range w {
		all[i] = s.took
	}
	slices.Sort(all)
	last := len(all) - 1
	return &spec.PairPropagation{P50: all[len(all)/2], P99: all[min(last, len(all)*99/100)], Max: all[last], Canaries: len(all), From: w[0].at.UTC()}
}
