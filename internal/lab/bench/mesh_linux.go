package main

import (
	"context"
	"encoding/json"
	"errors"
	"flag"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"runtime"
	"slices"
	"strconv"
	"strings"
	"sync"
	"time"

	"github.com/atollhq/terraform-provider-atoll/internal/lab/rig"
	"github.com/atollhq/terraform-provider-atoll/internal/spec"
)

// meshOptions are what is measured.
type meshOptions struct {
	cuts, losses, percent, streams int
	limit, stream                  time.Duration
	only, journals                 string
	json                           bool
}

// meshBench measures meshes side by side.
type meshBench struct {
	meshOptions
	programs *rig.Programs
	engine   string

	mu     sync.Mutex
	report *meshReport
}

// meshTogether is how many worlds are made at the same time.
const meshTogether = 2

// meshSets are the worlds of each way: one whose paths lose packets and one whose paths are cut, both at the same time. What is held against a
// link after the one does not count in the other.
var meshSets = []string{"loss", "cut"}

// meshWayNames are the contenders, in the order of the table.
var meshWayNames = []string{"tinc", "atoll-tinc", "atoll-wireguard", "nebula"}

// benchMesh measures tinc as it comes, tinc and WireGuard under Atoll, and Nebula, in one run.
func benchMesh(ctx context.Context, out io.Writer) (err error) {
	b := &meshBench{}
	flags := flag.NewFlagSet("bench mesh", flag.ContinueOnError)
	flags.IntVar(&b.cuts, "cuts", 5, "how often a path is cut, as far as -limit reaches")
	flags.IntVar(&b.losses, "losses", 3, "how often a path loses packets for a minute, as far as -limit reaches")
	flags.IntVar(&b.percent, "percent", 20, "how many percent get lost then, in each direction")
	flags.IntVar(&b.streams, "streams", 3, "how often a TCP stream is measured")
	flags.DurationVar(&b.stream, "stream", 5*time.Second, "how long each lasts")
	flags.DurationVar(&b.limit, "limit", 5*time.Minute, "when no new cut or loss begins any more, counted from the first")
	flags.StringVar(&b.only, "only", strings.Join(meshWayNames, ","), "what is measured")
	flags.StringVar(&b.journals, "journals", "", "a folder for what the nodes' programs have said")
	flags.BoolVar(&b.json, "json", false, "print the results as JSON")
	if err := flags.Parse(argumentsOf("mesh", os.Args[1:])); err != nil {
		return err
	}
	only := strings.Split(b.only, ",")
	for _, name := range only {
		if !slices.Contains(meshWayNames, name) {
			return fmt.Errorf("-only: %q is none of %s", name, strings.Join(meshWayNames, ", "))
		}
	}
	if b.percent < 1 || b.percent > 99 {
		return fmt.Errorf("-percent: %d is not between 1 and 99", b.percent)
	}
	dir, err := os.MkdirTemp("", "atoll-bench-")
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, os.RemoveAll(dir)) }()
	b.report = &meshReport{
		Command: "go run ./internal/lab/bench " + strings.Join(os.Args[1:], " "), Go: runtime.Version(), Kernel: kernel(), CPUs: runtime.NumCPU(),
		Percent: b.percent, Load: []string{loadAverage()},
	}
	meshSay("programs", "building")
	if b.programs, err = rig.Build(ctx, filepath.Join(dir, "bin")); err != nil {
		return err
	}
	if b.engine, err = engine(ctx, b.programs); err != nil {
		return err
	}
	ways, err := b.ways(ctx, filepath.Join(dir, "nebula"), only)
	if err != nil {
		return err
	}
	// What was measured before something went wrong took some minutes.
	defer func() {
		b.report.Load = append(b.report.Load, loadAverage())
		if !b.json {
			b.report.print(out)
			return
		}
		encoder := json.NewEncoder(out)
		encoder.SetIndent("", "  ")
		err = errors.Join(err, encoder.Encode(b.report))
	}()
	if err := b.measure(ctx, ways); err != nil {
		return err
	}
	return b.analysis(ctx)
}

// ways are the contenders that were asked for.
func (b *meshBench) ways(ctx context.Context, dir string, only []string) ([]meshWay, error) {
	all := []meshWay{
		{"tinc", "tinc as it comes", "Debian's package, its own timers", bareMesh(stockTinc)},
		{"atoll-tinc", "tinc under Atoll", "", b.atollMesh(spec.MeshTinc)},
		{"atoll-wireguard", "WireGuard under Atoll", "", b.atollMesh(spec.MeshWireGuard)},
	}
	if slices.Contains(only, "nebula") {
		if err := os.Mkdir(dir, 0o700); err != nil {
			return nil, err
		}
		meshSay("nebula", "building")
		n, err := buildNebula(ctx, b.programs.Source, dir)
		if err != nil {
			return nil, err
		}
		all = append(all, meshWay{"nebula", "Nebula", n.version + ", built from its module; the third node is lighthouse and relay; its timers at 1 s instead of 5 and 10 s", bareMesh(n.begin)})
	}
	return slices.DeleteFunc(all, func(w meshWay) bool { return !slices.Contains(only, w.name) }), nil
}

// measure makes all worlds, spoils paths in all of them at the same time, and measures streams in one after another.
func (b *meshBench) measure(ctx context.Context, ways []meshWay) (err error) {
	worlds := make([][]*meshWorld, len(ways))
	var making sync.WaitGroup
	problems := make([]error, len(ways)*len(meshSets))
	slots := make(chan struct{}, meshTogether)
	for i, way := range ways {
		b.report.Results = append(b.report.Results, &meshResult{Way: way.name, Title: way.title, Note: way.note})
		worlds[i] = make([]*meshWorld, len(meshSets))
		for j, set := range meshSets {
			making.Go(func() {
				slots <- struct{}{}
				defer func() { <-slots }()
				if ctx.Err() != nil {
					problems[len(meshSets)*i+j] = ctx.Err()
					return
				}
				meshSay(way.name, "three nodes whose paths are spoiled: %s", set)
				w, err := way.make(ctx, fmt.Sprintf("mesh%d%d-%d", i, j, os.Getpid()))
				worlds[i][j], problems[len(meshSets)*i+j] = w, wrap(way.name, err)
			})
		}
	}
	making.Wait()
	defer func() {
		for i := range worlds {
			for j, w := range worlds[i] {
				if w != nil {
					err = errors.Join(err, b.keep(context.WithoutCancel(ctx), w, ways[i].name+"-"+meshSets[j]), w.close())
				}
			}
		}
	}()
	if err := errors.Join(problems...); err != nil {
		return err
	}
	if err := b.spoil(ctx, ways, worlds); err != nil {
		return err
	}
	return b.speeds(ctx, ways, worlds)
}

// keep writes what the programs of a world's nodes have said into the folder for it, if there is one.
func (b *meshBench) keep(ctx context.Context, w *meshWorld, name string) error {
	if b.journals == "" {
		return nil
	}
	for _, h := range w.hosts {
		text, err := h.run(ctx, "journalctl", "--no-pager", "--output=short-iso-precise", "--unit=atolld", "--unit=atoll-*", "--unit=nebula", "--unit=tinc@bench")
		if err != nil {
			return err
		}
		if err := os.WriteFile(filepath.Join(b.journals, name+"-"+h.name+".log"), []byte(text), 0o600); err != nil {
			return err
		}
	}
	return nil
}

func wrap(what string, err error) error {
	if err != nil {
		return fmt.Errorf("%s: %w", what, err)
	}
	return nil
}

// spoil waits until all worlds are well, has paths lose packets and cuts paths, and counts who was called dead.
func (b *meshBench) spoil(ctx context.Context, ways []meshWay, worlds [][]*meshWorld) error {
	var all []*meshWorld
	for _, sets := range worlds {
		all = append(all, sets...)
	}
	if err := parallel(all, func(w *meshWorld) error { return w.settle(ctx) }); err != nil {
		return err
	}
	if err := pauseFor(ctx, meshWarm); err != nil {
		return err
	}
	for _, w := range all {
		w.from = time.Now()
	}
	if err := b.idle(ctx, worlds); err != nil {
		return err
	}
	end := time.Now().Add(b.limit)
	var each sync.WaitGroup
	problems := make([]error, 2*len(ways))
	for i, way := range ways {
		result := b.report.Results[i]
		each.Go(func() { problems[2*i] = wrap(way.name, b.lose(ctx, worlds[i][0], result, end)) })
		each.Go(func() { problems[2*i+1] = wrap(way.name, b.cut(ctx, worlds[i][1], result, end)) })
	}
	each.Wait()
	if err := errors.Join(problems...); err != nil {
		return err
	}
	for i, result := range b.report.Results {
		for _, w := range worlds[i] {
			if w.deaths == nil {
				continue
			}
			n, err := w.deaths(ctx)
			if err != nil {
				return wrap(result.Way, err)
			}
			if result.Deaths == nil {
				result.Deaths = new(int)
			}
			*result.Deaths += n
		}
	}
	return nil
}

// idle measures what the first world of each way sends by itself.
func (b *meshBench) idle(ctx context.Context, worlds [][]*meshWorld) error {
	var each sync.WaitGroup
	problems := make([]error, len(worlds))
	for i, result := range b.report.Results {
		each.Go(func() {
			bytes, err := worlds[i][0].idle(ctx)
			problems[i] = wrap(result.Way, err)
			result.IdleBytes = bytes
			meshSay(result.Way, "sends %.2f kB/s by itself", bytes/1000)
		})
	}
	each.Wait()
	return errors.Join(problems...)
}

func parallel(worlds []*meshWorld, do func(*meshWorld) error) error {
	var each sync.WaitGroup
	problems := make([]error, len(worlds))
	for i, w := range worlds {
		each.Go(func() { problems[i] = do(w) })
	}
	each.Wait()
	return errors.Join(problems...)
}

func (b *meshBench) lose(ctx context.Context, w *meshWorld, result *meshResult, end time.Time) error {
	for run := 0; run < b.losses && time.Now().Before(end); run++ {
		r, err := w.lossRun(ctx, w.pairs[run%len(w.pairs)], b.percent)
		if err != nil {
			return err
		}
		b.note(func() { result.Losses = append(result.Losses, r) })
		meshSay(result.Way, "%d %% lost on %s: %.2f and %.2f %% arrive, %.2f %% are answered, well after %d s; load %s", b.percent, r.Path, 100*r.OneWay[0], 100*r.OneWay[1], 100*r.Echoes, r.Within, loadAverage())
	}
	return nil
}

func (b *meshBench) cut(ctx context.Context, w *meshWorld, result *meshResult, end time.Time) error {
	for run := 0; run < b.cuts && time.Now().Before(end); run++ {
		r, err := w.gapRun(ctx, w.pairs[run%len(w.pairs)])
		if err != nil {
			return err
		}
		b.note(func() { result.Gaps = append(result.Gaps, r) })
		meshSay(result.Way, "%s cut: no answer for %s; load %s", r.Path, duration(r.Seconds), loadAverage())
	}
	return nil
}

func (b *meshBench) note(do func()) {
	b.mu.Lock()
	defer b.mu.Unlock()
	do()
}

// speeds measures streams in turns, those on the bare network among them.
func (b *meshBench) speeds(ctx context.Context, ways []meshWay, worlds [][]*meshWorld) error {
	for i, way := range ways {
		if err := worlds[i][0].settle(ctx); err != nil {
			return wrap(way.name, err)
		}
	}
	for range b.streams {
		raw := false
		for i, way := range ways {
			w, result := worlds[i][0], b.report.Results[i]
			a, c := w.hosts[0], w.hosts[2]
			if w.open && !raw {
				raw = true
				speed, err := meshStream(ctx, a, c, c.public, b.stream)
				if err != nil {
					return err
				}
				b.report.Raw = append(b.report.Raw, speed)
				meshSay("raw veth", "%.2f Gbit/s, %.2f s of CPU for a gigabit", speed.Gigabits, speed.CPU)
			}
			speed, err := meshStream(ctx, a, c, c.mesh, b.stream)
			if err != nil {
				return wrap(way.name, err)
			}
			result.Streams = append(result.Streams, speed)
			meshSay(way.name, "%.2f Gbit/s, %.2f s of CPU for a gigabit; load %s", speed.Gigabits, speed.CPU, loadAverage())
		}
	}
	return nil
}

// analysisLine is what the benchmark prints: how often it ran, and how many nanoseconds once took.
var analysisLine = regexp.MustCompile(`BenchmarkAThousandNodes\S*\s+\d+\s+(\d+) ns/op`)

// analysis runs the benchmark of the analysis at plan time.
func (b *meshBench) analysis(ctx context.Context) error {
	meshSay("analysis", "a thousand nodes")
	cmd := exec.CommandContext(ctx, "go", "test", "-run", "^$", "-bench", "AThousandNodes", "-benchtime", "20x", "./internal/topology/analysis")
	cmd.Dir = b.programs.Source
	out, err := cmd.CombinedOutput()
	if err != nil {
		return fmt.Errorf("analysis of a thousand nodes: %w\n%s", err, out)
	}
	found := analysisLine.FindSubmatch(out)
	if found == nil {
		return fmt.Errorf("analysis of a thousand nodes: no result in %q", out)
	}
	nanoseconds, err := strconv.ParseInt(string(found[1]), 10, 64)
	b.report.Analysis = time.Duration(nanoseconds).Seconds()
	return err
}

// meshSay tells whoever watches, at once.
func meshSay(way, format string, values ...any) {
	fmt.Fprintf(os.Stderr, "bench: %s: %s\n", way, fmt.Sprintf(format, values...))
}
