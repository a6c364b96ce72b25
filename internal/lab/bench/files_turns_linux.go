package main

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"

	"github.com/atollhq/terraform-provider-atoll/internal/lab/rig"
)

// measureTurns measures nothing but first synchronizations, in turns, so that whatever else the machine does is no one way's burden.
func (o filesOptions) measureTurns(ctx context.Context, report *filesReport, ways []string) error {
	results := map[string]*filesResult{}
	for _, name := range ways {
		results[name] = &filesResult{Way: name}
		report.Results = append(report.Results, results[name])
	}
	turn := func(ctx context.Context, w *filesWay) error {
		result := results[w.name]
		result.Loads = append(result.Loads, loadAverage())
		once := &filesResult{}
		m := &filesMeasure{filesOptions: o, way: w, result: once}
		for _, step := range []func(context.Context) error{m.begin, m.first, m.same} {
			if err := step(ctx); err != nil {
				result.Error = err.Error()
				return fmt.Errorf("%s: %w", w.name, err)
			}
		}
		result.Notes = []string{w.note}
		result.turn(once)
		return nil
	}
	all := func(site *rig.Site, s *stockFiles) error {
		for range o.turns {
			for _, name := range ways {
				var err error
				if name == ours {
					err = errors.Join(turn(ctx, o.atollFiles(site)), withoutPair(context.WithoutCancel(ctx), site))
				} else {
					err = s.one(ctx, name, func(w *filesWay) error { return turn(ctx, w) })
				}
				if err != nil {
					return err
				}
			}
		}
		return nil
	}
	withSite := func(do func(*rig.Site) error) error { return do(nil) }
	if slices.Contains(ways, ours) {
		withSite = func(do func(*rig.Site) error) error { return o.withAtoll(ctx, do) }
	}
	return withSite(func(site *rig.Site) error {
		if len(ways) == 1 && ways[0] == ours {
			return all(site, nil)
		}
		return withStock(ctx, func(s *stockFiles) error { return all(site, s) })
	})
}

// turn adds one first synchronization: what the result shows of several is the median.
func (r *filesResult) turn(once *filesResult) {
	r.Firsts, r.FirstCPUs = append(r.Firsts, *once.First), append(r.FirstCPUs, *once.FirstCPU)
	first, cpu := medianOf(r.Firsts), medianOf(r.FirstCPUs)
	r.First, r.FirstCPU = &first, &cpu
	for i := range r.MemoryMiB {
		r.MemoryMiB[i] = max(r.MemoryMiB[i], once.MemoryMiB[i])
	}
}

func medianOf(s []float64) float64 {
	s = slices.Sorted(slices.Values(s))
	return s[len(s)/2]
}

// turns lists what the median is of.
func (r *filesResult) turns() string {
	texts := make([]string, 0, len(r.Firsts))
	for i, s := range r.Firsts {
		texts = append(texts, fmt.Sprintf("%s (CPU %.1f s)", duration(s), r.FirstCPUs[i]))
	}
	return strings.Join(texts, ", ")
}
