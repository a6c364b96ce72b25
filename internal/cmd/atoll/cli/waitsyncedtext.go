package cli

import (
	"encoding/json"
	"errors"
	"fmt"
	"strings"
	"time"
	"unicode/utf8"

	"github.com/atollhq/terraform-provider-atoll/internal/api"
	"github.com/atollhq/terraform-provider-atoll/internal/replication/barrier"
	"github.com/atollhq/terraform-provider-atoll/internal/replication/digest"
)

const (
	// sayEvery is how often numbers are told that do nothing but change.
	sayEvery = 2 * time.Second
	// fewDifferences is how many paths are shown of a pair.
	fewDifferences = 10
	// digestShown is how much of a digest is shown, enough to compare two by eye.
	digestShown = 12
)

// waitProgress tells people how the waiting goes. It is called by one goroutine at a time.
type waitProgress struct {
	env   Environment
	quiet bool
	said  map[string]saidOf
}

// saidOf is what was last said of a pair.
type saidOf struct {
	// kind changes when something is news, and not only other numbers.
	kind, text string
	at         time.Time
}

func newWaitProgress(env Environment, quiet bool) *waitProgress {
	return &waitProgress{env: env, quiet: quiet, said: map[string]saidOf{}}
}

func (p *waitProgress) say(format string, args ...any) {
	if !p.quiet {
		_, _ = fmt.Fprintf(p.env.Stderr, format+"\n", args...) // what cannot be shown is no reason to stop
	}
}

func (p *waitProgress) report(states []barrier.State) {
	for _, s := range states {
		kind, text := waitState(s)
		name := partName(s)
		last := p.said[name]
		if text == "" || text == last.text || kind == last.kind && time.Since(last.at) < sayEvery {
			continue
		}
		p.said[name] = saidOf{kind, text, time.Now()}
		p.say("pair %s: %s", name, text)
	}
}

// partName is what a pair, or a part of one, is called.
func partName(s barrier.State) string {
	if s.Part == digest.Cold {
		return s.Pair + ", cold files"
	}
	return s.Pair
}

// waitState says how a pair is, "" for nothing yet.
func waitState(s barrier.State) (kind, text string) {
	kind = string(s.Phase)
	var failed, reading []string
	for i, side := range s.Sides {
		switch {
		case side.Err != nil:
			failed = append(failed, s.Nodes[i]+": "+plainly(side.Err))
		case side.Progress != nil:
			reading = append(reading, fmt.Sprintf("%s has looked at %s", s.Nodes[i], files(side.Progress.Seen)))
		}
	}
	switch {
	case len(failed) > 0:
		text = strings.Join(failed, "; ")
		return text, text
	case len(reading) > 0:
		return kind + ", reading", strings.Join(reading, ", ")
	case s.Phase == barrier.Reading:
		return kind, ""
	case s.Phase == barrier.Different:
		return kind, behind(s)
	case s.Phase == barrier.Unfinished:
		text = "equal, but " + unfinished(s)
		return text, text
	case s.Phase == barrier.Likely:
		return kind, "equal as far as it is known what has changed"
	}
	return kind, "equal"
}

// unfinished says what the sides have left to do to their trees.
func unfinished(s barrier.State) string {
	var out []string
	for i, side := range s.Sides {
		if side.Snapshot != nil && side.Snapshot.Unfinished != "" {
			out = append(out, s.Nodes[i]+": "+side.Snapshot.Unfinished)
		}
	}
	return strings.Join(out, "; ")
}

// behind says by how much each side is behind.
func behind(s barrier.State) string {
	c := s.Comparison
	switch {
	case s.Problem != "":
		return "not equal; what differs is not known: " + s.Problem
	case c == nil || c.Equal || len(c.Differences) == 0:
		return "not equal a moment ago"
	}
	least := ""
	if c.Truncated {
		least = "at least "
	}
	var out []string
	for i, t := range []digest.Totals{c.BehindHere, c.BehindThere} {
		if t == (digest.Totals{}) {
			out = append(out, s.Nodes[i]+" has everything")
			continue
		}
		out = append(out, s.Nodes[i]+" is behind by "+least+files(t))
	}
	if c.BehindHere == (digest.Totals{}) && c.BehindThere == (digest.Totals{}) {
		return "something changes while it is looked at"
	}
	return strings.Join(out, ", ")
}

// files are totals in words.
func files(t digest.Totals) string {
	text := fmt.Sprintf("%d files, %s", t.Files, size(t.Bytes))
	switch {
	case t.Files == 0 && t.Directories > 0:
		text = fmt.Sprintf("%d directories", t.Directories)
		if t.Directories == 1 {
			text = "1 directory"
		}
	case t.Files == 1:
		text = "1 file, " + size(t.Bytes)
	}
	return text
}

// size is a number of bytes in decimal units.
func size(n int64) string {
	value, units := float64(n), []string{"B", "kB", "MB", "GB", "TB"}
	for ; value >= 1000 && len(units) > 1; units = units[1:] {
		value /= 1000
	}
	if units[0] == "B" {
		return fmt.Sprintf("%d B", n)
	}
	return fmt.Sprintf("%.1f %s", value, units[0])
}

// plainly is an error without the request that met it.
func plainly(err error) string {
	var refused *api.Error
	if errors.As(err, &refused) {
		return refused.Message
	}
	return err.Error()
}

// waited is how the waiting ended.
type waited struct {
	Cluster string `json:"cluster"`
	// Equal tells that the trees of all pairs are.
	Equal bool `json:"equal"`
	// TookMS is how long it took, in milliseconds.
	TookMS int64        `json:"took_ms"`
	Pairs  []waitedPair `json:"pairs"`
}

type waitedPair struct {
	Pair string `json:"pair"`
	// Part is "cold" for the pair's cold roots.
	Part  digest.Part `json:"part,omitempty"`
	Equal bool        `json:"equal"`
	// Sides are both, by node.
	Sides map[string]waitedSide `json:"sides"`
	// Differences are the first that were found, Truncated tells that there are more.
	Differences []difference `json:"differences,omitempty"`
	Truncated   bool         `json:"truncated,omitempty"`
	// Problem says why it is not known what differs.
	Problem string `json:"problem,omitempty"`
}

type waitedSide struct {
	// Files and Bytes are what is in the tree, Digest what all of it comes to.
	Files  int64  `json:"files"`
	Bytes  int64  `json:"bytes"`
	Digest string `json:"digest,omitempty"`
	// BehindFiles and BehindBytes are what the side has yet to get.
	BehindFiles int64 `json:"behind_files"`
	BehindBytes int64 `json:"behind_bytes"`
	// Unfinished is what is left to do to the tree.
	Unfinished string `json:"unfinished,omitempty"`
	// Error is why the side could not be looked at last.
	Error string `json:"error,omitempty"`
}

type difference struct {
	// Path is below the tree's root. PathBytes is the path when that is no UTF-8.
	Path      string `json:"path"`
	PathBytes []byte `json:"path_base64,omitempty"`
	// Kind is "only here", "type", "content", "metadata", "not read" or "changed"; Node has what the other one lacks.
	Kind    string `json:"kind"`
	Node    string `json:"node,omitempty"`
	Files   int64  `json:"files"`
	Bytes   int64  `json:"bytes"`
	Message string `json:"message,omitempty"`
}

func waitedFor(cluster string, states []barrier.State, took time.Duration) waited {
	out := waited{Cluster: cluster, Equal: true, TookMS: took.Milliseconds(), Pairs: []waitedPair{}}
	for _, s := range states {
		p := waitedPair{Pair: s.Pair, Part: s.Part, Equal: s.Phase == barrier.Equal, Sides: map[string]waitedSide{}, Problem: s.Problem}
		out.Equal = out.Equal && p.Equal
		var lacks [2]digest.Totals
		if c := s.Comparison; c != nil {
			lacks = [2]digest.Totals{c.BehindHere, c.BehindThere}
			p.Truncated = c.Truncated
			for _, d := range c.Differences {
				p.Differences = append(p.Differences, differenceOf(s, d))
			}
		}
		for i, side := range s.Sides {
			v := waitedSide{BehindFiles: lacks[i].Files, BehindBytes: lacks[i].Bytes}
			if side.Snapshot != nil {
				v.Files, v.Bytes, v.Digest = side.Snapshot.Totals.Files, side.Snapshot.Totals.Bytes, side.Snapshot.Sum.String()
				v.Unfinished = side.Snapshot.Unfinished
			}
			if side.Err != nil {
				v.Error = plainly(side.Err)
			}
			p.Sides[s.Nodes[i]] = v
		}
		out.Pairs = append(out.Pairs, p)
	}
	return out
}

// onlyHere is the kind of a difference that one node alone has.
const onlyHere = "only here"

func differenceOf(s barrier.State, d digest.Difference) difference {
	out := difference{Path: string(d.Path), Kind: string(d.Kind), Files: d.Totals.Files, Bytes: d.Totals.Bytes, Message: d.Message}
	switch d.Kind {
	case digest.MissingHere:
		out.Kind, out.Node = onlyHere, s.Nodes[1]
	case digest.MissingThere:
		out.Kind, out.Node = onlyHere, s.Nodes[0]
	case digest.OtherType, digest.OtherContent, digest.OtherMetadata, digest.NotRead, digest.Changed:
	}
	if !utf8.Valid(d.Path) {
		out.PathBytes = d.Path
	}
	// Compare calls the sides here and there.
	for i, word := range []string{"here: ", "there: "} {
		if rest, ok := strings.CutPrefix(out.Message, word); ok {
			out.Node, out.Message = s.Nodes[i], rest
		}
	}
	return out
}

// text is a difference for people. A name may hold anything, so that one that a terminal would act on is quoted.
func (d difference) text(path []byte) string {
	shown := string(path)
	if quoted := fmt.Sprintf("%q", shown); quoted != `"`+shown+`"` || shown == "" {
		shown = quoted
	}
	how := map[string]string{
		onlyHere: "only on " + d.Node, string(digest.OtherType): "not of the same type", string(digest.OtherContent): "other content",
		string(digest.OtherMetadata): "other permissions or attributes", string(digest.Changed): "changes while it is looked at",
		string(digest.NotRead): "cannot be read",
	}[d.Kind]
	if d.Kind == string(digest.NotRead) && d.Node != "" {
		how += " on " + d.Node
	}
	if d.Message != "" {
		how += ": " + d.Message
	}
	if d.Kind == onlyHere && d.Files > 1 {
		how += fmt.Sprintf(", %d files", d.Files)
	}
	return shown + ": " + how
}

func printWaited(env Environment, w waited, states []barrier.State, asJSON bool) error {
	if asJSON {
		encoder := json.NewEncoder(env.Stdout)
		encoder.SetIndent("", "  ")
		return encoder.Encode(w)
	}
	var b strings.Builder
	if len(states) == 0 {
		fmt.Fprintf(&b, "cluster %s has no pairs\n", w.Cluster)
	}
	for i, s := range states {
		if w.Pairs[i].Equal {
			snapshot := s.Sides[0].Snapshot
			fmt.Fprintf(&b, "pair %s: equal on %s and %s: %s, digest %.*s\n", partName(s), s.Nodes[0], s.Nodes[1], files(snapshot.Totals), digestShown, snapshot.Sum)
			continue
		}
		_, text := waitState(s)
		verdict := "NOT equal"
		if s.Phase == barrier.Likely && s.Sides[0].Err == nil && s.Sides[1].Err == nil {
			verdict = "NOT verified"
		}
		if s.Phase == barrier.Unfinished {
			verdict = "NOT finished"
		}
		if text == "" {
			text = "nothing is known of its trees yet"
		}
		fmt.Fprintf(&b, "pair %s: %s: %s\n", partName(s), verdict, text)
		shown := 0
		if s.Comparison != nil {
			for n, d := range s.Comparison.Differences[:min(fewDifferences, len(s.Comparison.Differences))] {
				fmt.Fprintf(&b, "  %s\n", w.Pairs[i].Differences[n].text(d.Path))
				shown++
			}
		}
		if more := len(w.Pairs[i].Differences) - shown; more > 0 {
			least := ""
			if w.Pairs[i].Truncated {
				least = "at least "
			}
			fmt.Fprintf(&b, "  and %s%d more\n", least, more)
		}
	}
	_, err := fmt.Fprint(env.Stdout, b.String())
	return err
}
