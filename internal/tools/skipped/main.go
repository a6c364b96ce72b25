// Command skipped reads what `go test -json` printed, and lists the tests that were skipped, by reason. A skip that another suite
// of make test makes up for is none. With -fail, any other is an error, unless its reason matches -but: it is for machines that
// have all that tests need.
//
//	skipped [-fail] [-but REGEXP] FILE
package main

import (
	"bufio"
	"encoding/json"
	"flag"
	"fmt"
	"os"
	"regexp"
	"slices"
	"strings"
)

// elsewhere is what says that a test belongs to another suite of make test, or is a measurement that somebody has to ask for.
var elsewhere = regexp.MustCompile(`\(make (testacc|e2e) does\)|a measurement: go test`)

// event is one line of `go test -json` (go doc test2json).
type event struct{ Action, Package, Test, Output string }

// place is where the output of a skip begins, for example "    world_test.go:74: ".
var place = regexp.MustCompile(`^\s+[\w.]+\.go:\d+: `)

func main() {
	fail := flag.Bool("fail", false, "exit with 1 when a test was skipped that no other suite runs")
	but := flag.String("but", "^$", "a regular `expression`: reasons that are no error")
	flag.Parse()
	excused, err := regexp.Compile(*but)
	if err != nil {
		fmt.Fprintln(os.Stderr, "-but:", err)
		os.Exit(2)
	}
	if flag.NArg() != 1 {
		flag.Usage()
		os.Exit(2)
	}
	skips, err := read(flag.Arg(0))
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
	wrong := 0
	for _, s := range skips {
		fmt.Println("    NOT RUN:", s.test+":", s.reason)
		if !excused.MatchString(s.reason) {
			wrong++
		}
	}
	if *fail && wrong > 0 {
		fmt.Fprintf(os.Stderr, "%d tests were skipped on a machine that should run all\n", wrong)
		os.Exit(1)
	}
}

type skip struct{ test, reason string }

// read returns the skipped tests, sorted.
func read(path string) ([]skip, error) {
	f, err := os.Open(path)
	if err != nil {
		return nil, err
	}
	defer func() { _ = f.Close() }()
	said := map[[2]string][]string{}
	var skips []skip
	lines := bufio.NewScanner(f)
	lines.Buffer(nil, 16<<20)
	for lines.Scan() {
		var e event
		if err := json.Unmarshal(lines.Bytes(), &e); err != nil {
			return nil, fmt.Errorf("%s: %w", path, err)
		}
		test := [2]string{e.Package, e.Test}
		switch e.Action {
		case "output":
			if place.MatchString(e.Output) {
				said[test] = append(said[test], strings.TrimSpace(place.ReplaceAllString(e.Output, "")))
			}
		case "skip":
			reason := strings.Join(said[test], "; ")
			if e.Test != "" && !elsewhere.MatchString(reason) {
				skips = append(skips, skip{e.Package + " " + e.Test, reason})
			}
		}
	}
	slices.SortFunc(skips, func(a, b skip) int { return strings.Compare(a.test, b.test) })
	return skips, lines.Err()
}
