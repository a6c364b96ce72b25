package tinc

import (
	"regexp"
	"strings"
)

// tinc 1.0 has no control socket. Its other way to answer questions, a dump into the log on SIGUSR1 or SIGUSR2, is written
// in the signal handler, which may interrupt the logger itself: asked at the wrong moment, tincd waits for its own lock for
// ever (it did in two of three runs of the conformance suite). So nothing is asked; what connections there are follows
// from the log. HUP is safe: tincd takes it between two rounds of its main loop only.

var (
	logPrefix = regexp.MustCompile(`^\d{4}-\d\d-\d\d \d\d:\d\d:\d\d \S+\[\d+\]: `)
	activated = regexp.MustCompile(`^Connection with (\w+) \((.+)\) activated$`)
	closed    = regexp.MustCompile(`^Closing connection with (\w+) \((.+)\)$`)
	starting  = regexp.MustCompile(`^tincd \S+ starting`)
)

const (
	readyMessage  = "Ready"
	hangupMessage = "Got HUP signal"
	// emptiedMessage is what the driver leaves of a log that has grown long.
	emptiedMessage = "(atolld has emptied this log)"
)

// messages returns the complete lines of a log without time and process id, and how many bytes they take.
func messages(log string) (lines []string, size int) {
	size = strings.LastIndexByte(log, '\n') + 1
	for line := range strings.Lines(log[:size]) {
		line = strings.TrimRight(line, "\n")
		lines = append(lines, line[len(logPrefix.FindString(line)):])
	}
	return lines, size
}

// connections are the connections that tincd has, by tinc's name of the peer and the address it has there. For a short time
// there may be two to one peer, since both sides dial.
type connections map[string]map[string]bool

// traced stands for the address of a connection whose beginning is not in the log any more.
const traced = "traced"

// follow brings the connections up to date with one message of the log.
func (c connections) follow(message string) {
	switch {
	case starting.MatchString(message):
		clear(c)
	case activated.MatchString(message):
		m := activated.FindStringSubmatch(message)
		c.add(m[1], m[2])
	case closed.MatchString(message):
		m := closed.FindStringSubmatch(message)
		delete(c[m[1]], m[2])
		delete(c[m[1]], traced)
	}
}

func (c connections) add(name, address string) {
	if c[name] == nil {
		c[name] = map[string]bool{}
	}
	c[name][address] = true
}

// up tells whether there is a connection to a peer.
func (c connections) up(name string) bool { return len(c[name]) > 0 }

// sinceStart returns the messages of the tincd that started last.
func sinceStart(lines []string) []string {
	for i := len(lines) - 1; i >= 0; i-- {
		if starting.MatchString(lines[i]) {
			return lines[i:]
		}
	}
	return lines
}

func count(lines []string, message string) int {
	n := 0
	for _, line := range lines {
		if line == message {
			n++
		}
	}
	return n
}
