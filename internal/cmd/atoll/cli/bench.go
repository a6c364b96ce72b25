package cli

import (
	"encoding/json"
	"fmt"
	"strings"

	"github.com/jedib0t/go-pretty/v6/table"
	"github.com/jedib0t/go-pretty/v6/text"
	"github.com/spf13/cobra"

	"github.com/atollhq/terraform-provider-atoll/internal/replication/smallfiles"
)

func benchCommand(env Environment) *cobra.Command {
	cmd := &cobra.Command{
		Use:   "bench",
		Short: "Measure this machine",
		Long:  `Measures this machine. It asks no cluster for anything.`,
	}
	cmd.AddCommand(benchFilesCommand(env))
	return cmd
}

func benchFilesCommand(env Environment) *cobra.Command {
	var o smallfiles.Options
	var asJSON bool
	cmd := &cobra.Command{
		Use:   "files PATH",
		Short: "Measure how a directory does with many small files",
		Long: `Measures how a directory does with many small files, beside a plain file system on the same machine.

Both get the same files in turn: some of 15 KB, in directories of 100, which are written, read in random order, listed and
removed. Reading may take up to 50 % longer in PATH than on the plain file system, writing up to 80 %; "longer" is time.
Listing and removing are shown without a limit. The verdict compares the medians of the rounds.

PATH is an empty directory, or a new one in a directory that is there; it is removed afterwards. Nothing that is there
before is touched. A PATH in a replicated directory measures what replication costs those who write and read there: the
files go to the other node, too, and away again.

Writing includes waiting until the disk has everything: once after all files, or after each one with --sync-each. Reading
begins with empty caches, as root: THE CACHES OF ALL PROGRAMS of this machine are emptied before each round, and whatever
runs on it is slower for a while. With --warm, or without the right to empty caches, files are read from memory, and the
result says so. A run needs room and inodes for all files on each of the two file systems, one after the other, and
refuses to begin without. An interrupted run removes what it has made.

The exit code is 0 when both limits are kept, 1 when one is not, and 2 when it could not be measured.`,
		Example: `  # As quick as it gets: 4,700 files, five rounds
  atoll bench files /srv/www/data/bench

  # The size of the reference tree: 470,000 files, 7 GB
  atoll bench files /srv/www/data/bench --files 470000

  # For a monitoring system, in production
  atoll bench files /srv/www/data/bench --warm --json`,
		Args: cobra.ExactArgs(1),
		RunE: func(cmd *cobra.Command, args []string) error {
			o.Path = args[0]
			result, err := smallfiles.Run(cmd.Context(), o, benchProgress(env))
			if err != nil {
				return fmt.Errorf("measure small files: %w", err)
			}
			if asJSON {
				encoder := json.NewEncoder(env.Stdout)
				encoder.SetIndent("", "  ")
				err = encoder.Encode(result)
			} else {
				_, err = fmt.Fprint(env.Stdout, benchText(&result))
			}
			if err != nil {
				return err
			}
			if !result.Pass {
				return errDegraded
			}
			return nil
		},
	}
	flags := cmd.Flags()
	flags.StringVar(&o.Against, "against", "", "a `directory` of the plain file system to compare with (default: one for temporary files on the root file system)")
	flags.IntVar(&o.Files, "files", smallfiles.DefaultFiles, "how many files")
	flags.IntVar(&o.Size, "size", smallfiles.DefaultSize, "mean size of a file in `bytes`; sizes vary around it")
	flags.IntVar(&o.Rounds, "rounds", smallfiles.DefaultRounds, "how often both directories are measured in turn")
	flags.IntVar(&o.Parallel, "parallel", 1, "how many files are written or read at once")
	flags.BoolVar(&o.SyncEach, "sync-each", false, "wait for the disk after each file")
	flags.BoolVar(&o.Warm, "warm", false, "leave the machine's caches alone and read from memory")
	flags.Float64Var(&o.ReadLimit, "read-limit", smallfiles.DefaultReadLimit, "how many `percent` longer reading may take")
	flags.Float64Var(&o.WriteLimit, "write-limit", smallfiles.DefaultWriteLimit, "how many `percent` longer writing may take")
	flags.BoolVar(&asJSON, "json", false, "print JSON")
	return cmd
}

// benchProgress writes a line when a phase begins, and every tenth second of a long one.
func benchProgress(env Environment) func(smallfiles.Step) {
	doing := map[smallfiles.Phase]string{smallfiles.Write: "writing", smallfiles.Read: "reading", smallfiles.List: "listing", smallfiles.Remove: "removing"}
	const quiet = 10 // reports, of which there is one a second
	reports := 0
	return func(s smallfiles.Step) {
		switch {
		case s.Done == 0 && reports == 0:
			fmt.Fprintf(env.Stderr, "round %d of %d: %s %d files in %s\n", s.Round, s.Rounds, doing[s.Phase], s.Total, s.Path)
		case s.Done == s.Total:
			reports = 0
			return
		case reports%quiet == 0:
			fmt.Fprintf(env.Stderr, "  %d of %d (%d %%)\n", s.Done, s.Total, s.Done*100/s.Total)
		}
		reports++
	}
}

// benchText is the result for people.
func benchText(r *smallfiles.Result) string {
	var b strings.Builder
	how := "the disk waited for once"
	if r.SyncEach {
		how = "the disk waited for after each"
	}
	fmt.Fprintf(&b, "%d files, %.1f MB, %d at once, %s, %s reads, median of %d\n", r.Files, float64(r.Bytes)/1e6, r.Parallel, how, r.Caches, r.Rounds)
	fmt.Fprintf(&b, "path:  %s (%s, %s)\nplain: %s (%s, %s)\n\n", r.Path.Path, r.Path.Filesystem, r.Path.Source, r.Against.Path, r.Against.Filesystem, r.Against.Source)
	t := newTable("Phase", "Path", "Plain", "Files/s", "Plain", "Longer", "Limit", "")
	right := table.ColumnConfig{Align: text.AlignRight, AlignHeader: text.AlignRight}
	var columns []table.ColumnConfig
	for n := 2; n <= 7; n++ {
		right.Number = n
		columns = append(columns, right)
	}
	t.SetColumnConfigs(columns)
	for _, f := range r.Figures {
		limit, verdict := "-", ""
		if f.Limit > 0 {
			limit, verdict = fmt.Sprintf("%.0f %%", f.Limit), "pass"
			if !f.Pass {
				verdict = "FAIL"
			}
		}
		t.AppendRow(table.Row{
			f.Phase, fmt.Sprintf("%.3f s", f.PathSeconds), fmt.Sprintf("%.3f s", f.AgainstSeconds),
			fmt.Sprintf("%.0f", float64(r.Files)/f.PathSeconds), fmt.Sprintf("%.0f", float64(r.Files)/f.AgainstSeconds),
			fmt.Sprintf("%+.0f %%", f.Slower), limit, verdict,
		})
	}
	render(&b, t)
	list(&b, "worth a look", r.Warnings)
	if r.Pass {
		b.WriteString("PASS\n")
	} else {
		b.WriteString("FAIL: the path is slower than its limit\n")
	}
	return b.String()
}
