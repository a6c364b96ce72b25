// Command manifest writes and checks the manifest of a built node image.
//
//	go run ./internal/nodeimage/manifest write --facts image.json --dir DIR --qcow2 NAME --raw NAME --linode NAME --sbom NAME
//	go run ./internal/nodeimage/manifest facts --version V --architecture amd64 --debian trixie --packages N … > image.json
//	go run ./internal/nodeimage/manifest verify MANIFEST
//
// facts prints what stands inside the image as /usr/lib/atoll/image.json; write takes that file, measures the image's files
// in DIR, and writes manifest, SHA256SUMS and the link current.manifest.json beside them; verify reads all files again.
package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"io"
	"os"
	"os/signal"
	"slices"
	"strings"
	"syscall"
	"time"

	"github.com/atollhq/terraform-provider-atoll/internal/nodeimage"
	"github.com/atollhq/terraform-provider-atoll/internal/spec"
)

func main() {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	err := run(ctx, os.Args[1:], os.Stdout)
	stop()
	switch {
	case errors.Is(err, flag.ErrHelp):
	case err != nil:
		fmt.Fprintln(os.Stderr, "manifest:", err)
		os.Exit(1)
	}
}

func run(ctx context.Context, args []string, out io.Writer) error {
	commands := map[string]func(context.Context, []string, io.Writer) error{"facts": facts, "write": write, "verify": verify}
	if len(args) == 0 || commands[args[0]] == nil {
		return errors.New("say what to do: facts, write or verify; --help after it tells the flags")
	}
	return commands[args[0]](ctx, args[1:], out)
}

// parse reads flags and returns the arguments behind them.
func parse(flags *flag.FlagSet, args []string, wanted int) ([]string, error) {
	if err := flags.Parse(args); err != nil {
		return nil, err
	}
	if flags.NArg() != wanted {
		return nil, fmt.Errorf("%s takes %d argument(s) behind its flags, got %q", flags.Name(), wanted, flags.Args())
	}
	return flags.Args(), nil
}

func facts(_ context.Context, args []string, out io.Writer) error {
	f := nodeimage.Facts{Format: nodeimage.Format, Wire: spec.WireVersion, Databases: []string{}}
	var databases, built string
	flags := flag.NewFlagSet("facts", flag.ContinueOnError)
	flags.StringVar(&f.Version, "version", "", "Atoll's `version`")
	flags.StringVar(&f.Architecture, "architecture", "amd64", "Debian's name of the `architecture`")
	flags.StringVar(&f.Debian, "debian", "trixie", "the `release`")
	flags.StringVar(&f.Snapshot, "snapshot", "", "the `time` of the package archive, empty for that of the day")
	flags.StringVar(&databases, "databases", "", "`engines` inside, separated by spaces or commas")
	flags.IntVar(&f.Packages, "packages", 0, "`number` of Debian packages")
	flags.StringVar(&built, "built", "", "`time` of the build as 2006-01-02T15:04:05Z or in seconds since 1970; default now")
	if _, err := parse(flags, args, 0); err != nil {
		return err
	}
	f.Databases = append(f.Databases, strings.FieldsFunc(databases, func(r rune) bool { return r == ',' || r == ' ' })...)
	slices.Sort(f.Databases)
	var err error
	if f.Built, err = parseTime(built); err != nil {
		return err
	}
	data, err := f.Encode()
	if err != nil {
		return err
	}
	_, err = out.Write(data)
	return err
}

func parseTime(text string) (time.Time, error) {
	if text == "" {
		return time.Now(), nil
	}
	var seconds int64
	if _, err := fmt.Sscanf(text, "%d", &seconds); err == nil && fmt.Sprint(seconds) == text {
		return time.Unix(seconds, 0), nil // SOURCE_DATE_EPOCH
	}
	return time.Parse(time.RFC3339, text)
}

func write(ctx context.Context, args []string, out io.Writer) error {
	flags := flag.NewFlagSet("write", flag.ContinueOnError)
	from := flags.String("facts", "", "`file` with the facts, as it is inside the image")
	dir := flags.String("dir", ".", "`folder` of the image's files")
	given := map[nodeimage.Kind]*string{}
	for _, kind := range nodeimage.Kinds() {
		given[kind] = flags.String(string(kind), "", fmt.Sprintf("`name` of the file of kind %s", kind))
	}
	if _, err := parse(flags, args, 0); err != nil {
		return err
	}
	data, err := os.ReadFile(*from)
	if err != nil {
		return fmt.Errorf("--facts: %w", err)
	}
	f, err := nodeimage.ParseFacts(data)
	if err != nil {
		return fmt.Errorf("--facts %s: %w", *from, err)
	}
	names := map[nodeimage.Kind]string{}
	for kind, name := range given {
		if *name != "" {
			names[kind] = *name
		}
	}
	_, path, err := nodeimage.Write(ctx, *dir, f, names)
	if err != nil {
		return err
	}
	_, err = fmt.Fprintln(out, path)
	return err
}

func verify(ctx context.Context, args []string, out io.Writer) error {
	rest, err := parse(flag.NewFlagSet("verify", flag.ContinueOnError), args, 1)
	if err != nil {
		return err
	}
	m, dir, err := nodeimage.Read(rest[0])
	if err != nil {
		return err
	}
	if err := m.Verify(ctx, dir); err != nil {
		return err
	}
	_, err = fmt.Fprintf(out, "%s: %d files are as described\n", rest[0], len(m.Files))
	return err
}
