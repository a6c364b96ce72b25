package unison

import (
	"bufio"
	"io"
	"regexp"
	"strconv"
	"strings"
)

// Round is one synchronization as unison's text interface tells it, or how unison ended.
type Round struct {
	// Failed are the reasons for what was not brought over, by path: it is tried again in each round. Names with newlines are cut.
	Failed map[string]string
	// Skipped are the reasons for what was not looked into, by path: it is not until it changes. Of a directory that is new only its own name
	// is here when something in it was not looked into: unison tells what that is when it looks at the directory again.
	Skipped map[string]string
	// MoreFailed and MoreSkipped are how many paths there are beside these.
	MoreFailed, MoreSkipped int
	// Fatal is why unison gives up, "" while it goes on.
	Fatal string
}

// maxFatal is how many lines of unison's last words are kept.
const maxFatal = 100

// maxFailed is how many failures of a round are kept.
const maxFailed = 1000

var (
	summaryLine = regexp.MustCompile(`^Synchronization (?:complete|incomplete) at \S+ +\(\d+ items? transferred, (?:(\d+) partially transferred, )?(\d+) skipped, (\d+) failed(?:, \d+ not started)?\)$`)
	failedLine  = regexp.MustCompile(`^Failed \[(.*)\]: (.*)$`)
	skippedLine = regexp.MustCompile(`^  skipped: (.*?) \((.*?)\)?$`)
	// handleException in its uitext.ml, with exn2string in its uicommon.ml: before 2.53.5 exceptions that it does not expect have no prefix.
	fatalLine = regexp.MustCompile(`^(?:(?:Fatal error|Error): (.*)|((?:Uncaught unix error: |Uncaught exception |Invalid argument: ).*))$`)
)

// nothing is what unison says instead of a summary.
const nothing = "Nothing to do: "

// partly is the reason of what was brought over without all that is in it.
const partly = "not everything in it could be read"

// ReadRounds reads what unison 2.52 or 2.53 writes with "terse" and without a terminal, its errors included, until the end, and calls
// each with what it finds.
func ReadRounds(output io.Reader, each func(Round)) error {
	p := parser{each: each, reasons: map[string]string{}}
	lines := bufio.NewReader(output)
	for {
		line, err := lines.ReadString('\n')
		if line != "" {
			// What is overwritten on a terminal is separated by returns alone.
			line = strings.TrimRight(line, "\r\n")
			p.line(line[strings.LastIndexByte(line, '\r')+1:])
		}
		if err != nil {
			p.end()
			if err == io.EOF {
				return nil
			}
			return err
		}
	}
}

type parser struct {
	each func(Round)
	// reasons are why paths failed, from what was said before the summary; pending is the path whose reason goes on.
	reasons map[string]string
	pending string
	// round is what is being summed up, with so many lines to come.
	round *Round
	left  int
	// fatal is what may be its last words: they are when no other round comes to its end. A name may have them, too.
	fatal []string
}

func newRound() *Round { return &Round{Failed: map[string]string{}, Skipped: map[string]string{}} }

func (p *parser) line(text string) {
	if m := fatalLine.FindStringSubmatch(text); m != nil {
		p.fatal = []string{m[1] + m[2]}
	} else if p.fatal != nil && len(p.fatal) < maxFatal {
		p.fatal = append(p.fatal, text)
	}
	if p.round != nil && p.summed(text) {
		return
	}
	switch m := summaryLine.FindStringSubmatch(text); {
	case m != nil:
		p.round, p.left, p.pending = newRound(), 0, ""
		for _, number := range m[1:] {
			n, _ := strconv.Atoi(number) // digits, or nothing
			p.left += n
		}
		p.done()
	case strings.HasPrefix(text, nothing):
		p.round, p.left = newRound(), 0
		p.done()
	default:
		p.reason(text)
	}
}

// reason takes in what is said while a round goes on.
func (p *parser) reason(text string) {
	if m := failedLine.FindStringSubmatch(text); m != nil && len(p.reasons) < maxFailed {
		p.reasons[m[1]], p.pending = strings.TrimSuffix(m[2], ":"), m[1]
		return
	}
	if p.pending != "" && text != "" {
		p.reasons[p.pending] += ": " + text
	}
	p.pending = ""
}

// summed takes in a line of a summary, and tells whether it was one.
func (p *parser) summed(text string) bool {
	if path, ok := strings.CutPrefix(text, "  failed: "); ok {
		p.fail(p.round.Failed, &p.round.MoreFailed, path, p.reasons[path])
		return true
	}
	if path, ok := strings.CutPrefix(text, "  partially transferred: "); ok {
		p.fail(p.round.Skipped, &p.round.MoreSkipped, path, partly)
		return true
	}
	if m := skippedLine.FindStringSubmatch(text); m != nil {
		p.fail(p.round.Skipped, &p.round.MoreSkipped, m[1], strings.TrimSuffix(m[2], ":"))
		return true
	}
	if strings.HasPrefix(text, "  skipped: ") {
		// The name goes on in the next line, where the reason is, too.
		p.round.MoreSkipped++
		p.left--
		p.done()
		return true
	}
	// A reason that goes on, or a name.
	return p.left > 0 && !summaryLine.MatchString(text)
}

func (p *parser) fail(into map[string]string, more *int, path, reason string) {
	if _, known := into[path]; known || len(into) < maxFailed {
		into[path] = reason
	} else {
		*more++
	}
	p.left--
	p.done()
}

// done hands a round over that is complete.
func (p *parser) done() {
	if p.left > 0 {
		return
	}
	p.each(*p.round)
	p.round, p.fatal, p.reasons = nil, nil, map[string]string{}
}

func (p *parser) end() {
	fatal := p.fatal
	if p.round != nil {
		p.left = 0
		p.done()
	}
	if fatal != nil {
		p.each(Round{Fatal: strings.TrimSpace(strings.Join(fatal, "\n"))})
	}
}
