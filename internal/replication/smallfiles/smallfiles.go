// Package smallfiles measures how fast a directory is with many small files, beside a plain file system in the same run.
//
// Web applications keep hundreds of thousands of files of some 15 KB, and what replicates them may cost more there than in
// any benchmark with large files. Two limits say what is bearable: reading may take up to 50 % longer than on the plain
// file system, writing up to 80 %. "Longer" is time: a limit of 50 % is passed by less than one and a half times as much.
//
// Both directories get the same files in turn, so that a busy moment of the machine hits both, and the verdict compares
// their medians of several rounds. The clock of writing stops when the file system says that all is on the disk; reading begins
// with empty caches where the kernel lets this process empty them, and the result says "warm" where it does not.
package smallfiles

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"time"
)

// The defaults of Options.
const (
	DefaultFiles      = 4_700 // a hundredth of the reference tree of 470,000
	DefaultSize       = 15 << 10
	DefaultRounds     = 5
	DefaultReadLimit  = 50
	DefaultWriteLimit = 80
)

// Options say what is measured.
type Options struct {
	// Path is the directory to judge: an empty one, or one that is not there yet and goes away afterwards.
	Path string
	// Against is a directory of a plain file system; "" finds one on the root file system. Files are made in a new
	// directory below it.
	Against string
	// Files is how many, in directories of 100; Size their mean size in bytes.
	Files, Size int
	// Rounds is how often both directories are measured in turn.
	Rounds int
	// Parallel is how many files are written or read at once.
	Parallel int
	// SyncEach waits for the disk after each file, as mail servers and databases do; otherwise once after all files.
	SyncEach bool
	// Warm leaves the machine's caches as they are.
	Warm bool
	// ReadLimit and WriteLimit are how many per cent longer than Against the path may take.
	ReadLimit, WriteLimit float64
	// DropCaches empties the machine's caches, for all of its programs; nil asks the kernel to.
	DropCaches func() error
}

// OptionError is an option that cannot be.
type OptionError struct {
	// Option is the field's name, Reason what it must be.
	Option, Reason string
}

// Error names the option.
func (e *OptionError) Error() string { return e.Option + " " + e.Reason }

func (o *Options) fill() error {
	for _, v := range []struct {
		name  string
		value *int
		usual int
		most  int
	}{
		{"files", &o.Files, DefaultFiles, 100_000_000},
		{"size", &o.Size, DefaultSize, 1 << 20},
		{"rounds", &o.Rounds, DefaultRounds, 1000},
		{"parallel", &o.Parallel, 1, 1024},
	} {
		if *v.value == 0 {
			*v.value = v.usual
		}
		if *v.value < 1 || *v.value > v.most {
			return &OptionError{v.name, fmt.Sprintf("must be from 1 to %d, not %d", v.most, *v.value)}
		}
	}
	switch {
	case o.Path == "":
		return &OptionError{"path", "must name a directory"}
	case !(o.ReadLimit > 0):
		return &OptionError{"read limit", "must be more than 0 %"}
	case !(o.WriteLimit > 0):
		return &OptionError{"write limit", "must be more than 0 %"}
	}
	if o.DropCaches == nil {
		o.DropCaches = dropCaches
	}
	return nil
}

// Phase is one thing that is measured.
type Phase string

// The phases, in their order. Listing, with the caches as reading leaves them, and removing have no limit.
const (
	Write  Phase = "write"
	Read   Phase = "read"
	List   Phase = "list"
	Remove Phase = "remove"
)

var phases = []Phase{Write, Read, List, Remove}

// Step is where a run is.
type Step struct {
	Round, Rounds int
	Phase         Phase
	// Path is the directory that is used now, Done how many of Total files are ready.
	Path        string
	Done, Total int
}

// Place is a directory that was measured.
type Place struct {
	Path string `json:"path"`
	// Filesystem is its type, such as "ext4", Source what is mounted.
	Filesystem string `json:"filesystem"`
	Source     string `json:"source"`
}

// Figure compares the two directories in one phase. Times are for all files, medians of the rounds.
type Figure struct {
	Phase          Phase     `json:"phase"`
	PathSeconds    float64   `json:"path_seconds"`
	AgainstSeconds float64   `json:"against_seconds"`
	PathRounds     []float64 `json:"path_rounds"`
	AgainstRounds  []float64 `json:"against_rounds"`
	// Slower is how many per cent longer the path takes, by these medians. Less than 0 is faster.
	Slower float64 `json:"slower_percent"`
	// Limit is what Slower must stay below, 0 where there is no limit.
	Limit float64 `json:"limit_percent,omitempty"`
	Pass  bool    `json:"pass"`
}

// Caches says what reading began with.
type Caches string

// The states of caches. Reads of a cold cache come from the disk or the network, of a warm one from memory.
const (
	Cold Caches = "cold"
	Warm Caches = "warm"
)

// Result is what a run found.
type Result struct {
	Path     Place  `json:"path"`
	Against  Place  `json:"against"`
	Files    int    `json:"files"`
	Bytes    int64  `json:"bytes"`
	Rounds   int    `json:"rounds"`
	Parallel int    `json:"parallel"`
	SyncEach bool   `json:"sync_each"`
	Caches   Caches `json:"caches"`
	// Figures are in the order of the phases.
	Figures []Figure `json:"figures"`
	// Pass is true when every limit is kept.
	Pass bool `json:"pass"`
	// Warnings say why the figures may mean less than they seem to.
	Warnings []string `json:"warnings,omitempty"`
}

// Run measures. progress, when not nil, is called at the beginning and end of each phase and once a second between, by
// one goroutine at a time. Whatever was made is removed again, also when ctx ends.
func Run(ctx context.Context, o Options, progress func(Step)) (result Result, err error) {
	if err := o.fill(); err != nil {
		return Result{}, err
	}
	if progress == nil {
		progress = func(Step) {}
	}
	path, err := openTarget(o.Path, true)
	if err != nil {
		return Result{}, err
	}
	defer func() { err = errors.Join(err, path.close()) }()
	if o.Against == "" {
		if o.Against, err = plainDirectory(); err != nil {
			return Result{}, err
		}
	}
	against, err := openTarget(o.Against, false)
	if err != nil {
		return Result{}, err
	}
	defer func() { err = errors.Join(err, against.close()) }()

	f := newFixture(o.Files, o.Size)
	for _, t := range []*target{path, against} {
		if err := t.room(f); err != nil {
			return Result{}, err
		}
	}
	r := &run{Options: o, fixture: f, progress: progress, caches: Cold}
	took := map[Phase][2][]float64{}
	for round := 1; round <= o.Rounds; round++ {
		// Who begins changes, so that neither always has the disk that the other left busy.
		order := []*target{against, path}
		if round%2 == 0 {
			slices.Reverse(order)
		}
		for _, t := range order {
			times, err := r.round(ctx, round, t)
			if err != nil {
				return Result{}, err
			}
			for _, phase := range phases {
				both := took[phase]
				side := 0
				if t == against {
					side = 1
				}
				both[side] = append(both[side], times[phase].Seconds())
				took[phase] = both
			}
		}
	}
	return r.result(path.place, against.place, took), nil
}

// run is a run that is under way.
type run struct {
	Options
	fixture  *fixture
	progress func(Step)
	caches   Caches
	warm     error
}

func (r *run) result(path, against Place, took map[Phase][2][]float64) Result {
	result := Result{
		Path: path, Against: against, Files: r.Files, Bytes: r.fixture.bytes(), Rounds: r.Rounds, Parallel: r.Parallel,
		SyncEach: r.SyncEach, Caches: r.caches, Pass: true,
	}
	limits := map[Phase]float64{Read: r.ReadLimit, Write: r.WriteLimit}
	uneven := false
	for _, phase := range phases {
		f := Figure{
			Phase: phase, PathRounds: took[phase][0], AgainstRounds: took[phase][1],
			PathSeconds: median(took[phase][0]), AgainstSeconds: median(took[phase][1]), Limit: limits[phase],
		}
		f.Slower = (f.PathSeconds/f.AgainstSeconds - 1) * 100
		f.Pass = f.Limit == 0 || f.Slower < f.Limit
		result.Pass = result.Pass && f.Pass
		result.Figures = append(result.Figures, f)
		if f.Limit > 0 && (spreads(f.AgainstRounds) || spreads(f.PathRounds)) {
			uneven = true
		}
	}
	if uneven {
		result.Warnings = append(result.Warnings, "one round took more than twice as long as another in the same directory: something else was busy, measure again")
	}
	if r.Rounds == 1 {
		result.Warnings = append(result.Warnings, "one round cannot tell the directory from what else the machine did meanwhile")
	}
	if r.warm != nil {
		result.Warnings = append(result.Warnings, "reads are warm, out of memory: the caches could not be emptied ("+r.warm.Error()+")")
	}
	if path.Filesystem == against.Filesystem && path.Source == against.Source {
		result.Warnings = append(result.Warnings, "both directories are on the same file system: only what watches or replicates the path makes a difference")
	}
	if against.Filesystem == "tmpfs" || against.Filesystem == "ramfs" {
		result.Warnings = append(result.Warnings, "the comparison is with memory, not with a disk")
	}
	return result
}

// spreads tells whether rounds differ by more than what can be compared.
func spreads(rounds []float64) bool { return slices.Max(rounds) > 2*slices.Min(rounds) }

// median of at least one value; of two, the mean of them.
func median(values []float64) float64 {
	sorted := slices.Sorted(slices.Values(values))
	return (sorted[(len(sorted)-1)/2] + sorted[len(sorted)/2]) / 2
}

// round measures one directory once.
func (r *run) round(ctx context.Context, round int, t *target) (times map[Phase]time.Duration, err error) {
	dir, err := t.begin()
	if err != nil {
		return nil, err
	}
	defer func() { err = errors.Join(err, t.end()) }()
	times = map[Phase]time.Duration{}
	for _, phase := range phases {
		if phase == Read {
			r.cool()
		}
		m := &meter{ctx: ctx, step: Step{Round: round, Rounds: r.Rounds, Phase: phase, Path: t.place.Path, Total: r.Files}, progress: r.progress}
		work := map[Phase]func(*meter, string) error{Write: r.write, Read: r.read, List: r.list, Remove: r.remove}[phase]
		if phase == Write || phase == Remove {
			// What others have left to write is not this phase's.
			if err := syncAll(dir); err != nil {
				return nil, err
			}
		}
		if times[phase], err = m.run(func() error { return work(m, dir) }); err != nil {
			return nil, fmt.Errorf("%s small files in %s: %w", phase, t.place.Path, err)
		}
	}
	return times, nil
}

// cool empties caches. Once that has failed the run is a warm one.
func (r *run) cool() {
	switch {
	case r.Warm:
		r.caches = Warm
	case r.caches == Cold:
		if err := r.DropCaches(); err != nil {
			r.caches, r.warm = Warm, err
		}
	}
}
