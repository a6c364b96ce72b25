package main

import (
	"context"
	"encoding/json"
	"errors"
	"flag"
	"fmt"
	"io"
	"os"
	"runtime"
	"slices"
	"strings"
	"time"

	"golang.org/x/sys/unix"

	"github.com/atollhq/terraform-provider-atoll/internal/spec"
)

// filesOptions are what is measured.
type filesOptions struct {
	files, size, changes, burst int
	turns                       int
	alone, steady, idle, limit  time.Duration
	only, mesh                  string
	json                        bool
}

// filesWayNames are what can keep a tree on a second machine. Ours is the first: the others are compared with it.
var filesWayNames = []string{ours, "unison", "rsync", "syncthing", "lsyncd", "csync2"}

// ours is the name of Atoll among them.
const ours = "atoll"

// filesMeshes are the meshes over which Atoll can be measured. The others go over the network as it is.
var filesMeshes = []string{string(spec.MeshWireGuard), string(spec.MeshTinc)}

// benchFiles measures how a tree of small files is kept on two machines, by Atoll and by what Debian has for it, in one run.
func benchFiles(ctx context.Context, out io.Writer) error {
	var o filesOptions
	flags := flag.NewFlagSet("bench files", flag.ContinueOnError)
	flags.IntVar(&o.files, "files", 47_000, "files in the tree")
	flags.IntVar(&o.size, "size", 15_000, "bytes of each")
	flags.IntVar(&o.changes, "changes", 100, "changes of one file that are measured one after another, as far as -alone reaches")
	flags.IntVar(&o.burst, "burst", 20_000, "files that are changed and made as fast as possible")
	flags.IntVar(&o.turns, "turns", 0, "measure nothing but first synchronizations, this many of each, in turns")
	flags.DurationVar(&o.alone, "alone", 100*time.Second, "for how long changes are made one after another")
	flags.DurationVar(&o.steady, "steady", time.Minute, "for how long a file is changed every 0.2 to 0.4 s")
	flags.DurationVar(&o.idle, "idle", time.Minute, "for how long nothing happens")
	flags.DurationVar(&o.limit, "limit", 15*time.Minute, "what one synchronization may take")
	flags.StringVar(&o.only, "only", strings.Join(filesWayNames, ","), "what is measured")
	flags.StringVar(&o.mesh, "mesh", string(spec.MeshWireGuard), "Atoll's mesh: "+strings.Join(filesMeshes, " or "))
	flags.BoolVar(&o.json, "json", false, "print the results as JSON")
	if err := flags.Parse(argumentsOf("files", os.Args[1:])); err != nil {
		return err
	}
	ways := strings.Split(o.only, ",")
	for _, w := range ways {
		if !slices.Contains(filesWayNames, w) {
			return fmt.Errorf("-only: %q is none of %s", w, strings.Join(filesWayNames, ", "))
		}
	}
	if !slices.Contains(filesMeshes, o.mesh) {
		return fmt.Errorf("-mesh: %q is none of %s", o.mesh, strings.Join(filesMeshes, ", "))
	}
	report := &filesReport{Command: "go run ./internal/lab/bench " + strings.Join(os.Args[1:], " "), Kernel: kernel(), CPUs: runtime.NumCPU(), Files: o.files, Size: o.size, Burst: o.burst}
	// What was measured before something went wrong took half an hour, perhaps.
	defer func() {
		if o.json {
			encoder := json.NewEncoder(out)
			encoder.SetIndent("", "  ")
			_ = encoder.Encode(report)
			return
		}
		report.print(out)
	}()
	if o.turns > 0 {
		return o.measureTurns(ctx, report, ways)
	}
	var errs []error
	if slices.Contains(ways, ours) {
		errs = append(errs, o.measureAtoll(ctx, report))
	}
	stock := slices.DeleteFunc(slices.Clone(ways), func(w string) bool { return w == ours })
	if len(stock) > 0 && ctx.Err() == nil {
		errs = append(errs, o.measureStock(ctx, report, stock))
	}
	return errors.Join(errs...)
}

// kernel names the running kernel.
func kernel() string {
	var u unix.Utsname
	if err := unix.Uname(&u); err != nil {
		return "unknown"
	}
	return unix.ByteSliceToString(u.Release[:])
}

// loadAverage is the machine's load average of the last minute.
func loadAverage() string {
	text, err := os.ReadFile("/proc/loadavg")
	if err != nil {
		return "unknown"
	}
	one, _, _ := strings.Cut(string(text), " ")
	return one
}

// filesSay tells whoever watches, at once.
func filesSay(way, format string, values ...any) {
	fmt.Fprintf(os.Stderr, "bench: %s: %s\n", way, fmt.Sprintf(format, values...))
}

// measure lets a way do everything that it can, and adds what came of it to the report, complete or not.
func (o filesOptions) measure(ctx context.Context, report *filesReport, w *filesWay) (err error) {
	result := &filesResult{Way: w.name, Loads: []string{loadAverage()}}
	report.Results = append(report.Results, result)
	defer func() {
		result.Loads = append(result.Loads, loadAverage())
		if w.note != "" {
			result.Notes = append(result.Notes, w.note)
		}
		if err != nil {
			err = fmt.Errorf("%s: %w", w.name, err)
			result.Error = err.Error()
			filesSay(w.name, "%v", err)
		}
	}()
	m := &filesMeasure{filesOptions: o, way: w, result: result}
	steps := []func(context.Context) error{m.begin, m.first, m.same, m.again}
	if w.live {
		steps = append(steps, m.alone, m.steady, m.idle)
	}
	for _, step := range append(steps, m.burst, m.same) {
		if err := step(ctx); err != nil {
			return err
		}
	}
	return nil
}
