package tinc

import (
	"fmt"
	"regexp"
	"strconv"
	"strings"
)

// dump is what tincd says of itself when it is asked by a signal.
type dump struct {
	nodes   map[string]dumpNode
	edges   []dumpEdge
	subnets map[string]string // subnet -> owner
}

type dumpNode struct {
	reachable bool
	nextHop   string
}

type dumpEdge struct{ from, to string }

// Beginning and end of a dump in tincd's log.
const (
	dumpBegin = "Statistics for "
	dumpEnd   = "End of subnet list."
)

// statusReachable is the bit of a node's status (node_status_t) that says there is some path to it.
const statusReachable = 1 << 4

var (
	logPrefix  = regexp.MustCompile(`^\d{4}-\d\d-\d\d \d\d:\d\d:\d\d \S+\[\d+\]: `)
	nodeLine   = regexp.MustCompile(`^ (\w+) at .+ options [0-9a-f]+ status ([0-9a-f]+) nexthop (\S+) via \S+ pmtu `)
	edgeLine   = regexp.MustCompile(`^ (\w+) to (\w+) at `)
	subnetLine = regexp.MustCompile(`^ (\S+) owner (\w+)$`)
)

// splitLog splits a log into complete messages without their time and process id, in order. Of the lines of a dump it
// keeps only the first, so that what remains are events. Complete tells how many bytes end in a whole line.
func splitLog(log string) (events []string, complete int) {
	complete = strings.LastIndexByte(log, '\n') + 1
	inDump := false
	for line := range strings.Lines(log[:complete]) {
		text := message(line)
		switch {
		case strings.HasPrefix(text, dumpBegin):
			inDump = true
		case inDump:
			inDump = text != dumpEnd
		default:
			events = append(events, text)
		}
	}
	return events, complete
}

func message(line string) string {
	line = strings.TrimRight(line, "\n")
	return line[len(logPrefix.FindString(line)):]
}

// lastDump returns the last complete dump in a log, and false when there is none.
func lastDump(log string) (dump, bool, error) {
	var lines []string
	var found dump
	have := false
	for line := range strings.Lines(log) {
		text := message(line)
		switch {
		case strings.HasPrefix(text, dumpBegin):
			lines = []string{text}
		case text == dumpEnd && lines != nil:
			d, err := parseDump(lines)
			if err != nil {
				return dump{}, false, err
			}
			found, have, lines = d, true, nil
		case lines != nil:
			lines = append(lines, text)
		}
	}
	return found, have, nil
}

// parseDump reads the lines of one dump. An unknown line is an error: better no answer than a wrong one.
func parseDump(lines []string) (dump, error) {
	d := dump{nodes: map[string]dumpNode{}, subnets: map[string]string{}}
	section := ""
	for _, line := range lines {
		switch line {
		case "Nodes:", "Edges:", "Subnet list:":
			section = line
			continue
		case "End of nodes.", "End of edges.":
			section = ""
			continue
		}
		ok := true
		switch section {
		case "Nodes:":
			m := nodeLine.FindStringSubmatch(line)
			if ok = m != nil; ok {
				status, err := strconv.ParseUint(m[2], 16, 32)
				if err != nil {
					return dump{}, fmt.Errorf("read tincd's answer %q: %w", line, err)
				}
				d.nodes[m[1]] = dumpNode{reachable: status&statusReachable != 0, nextHop: m[3]}
			}
		case "Edges:":
			m := edgeLine.FindStringSubmatch(line)
			if ok = m != nil; ok {
				d.edges = append(d.edges, dumpEdge{from: m[1], to: m[2]})
			}
		case "Subnet list:":
			m := subnetLine.FindStringSubmatch(line)
			if ok = m != nil; ok {
				d.subnets[m[1]] = m[2]
			}
		}
		if !ok {
			return dump{}, fmt.Errorf("read tincd's answer: unknown line %q", line)
		}
	}
	return d, nil
}

// edge tells whether the dump has a connection from one node to another.
func (d dump) edge(from, to string) bool {
	for _, e := range d.edges {
		if e.from == from && e.to == to {
			return true
		}
	}
	return false
}

// owners returns which nodes own a subnet.
func (d dump) owners() map[string]bool {
	out := map[string]bool{}
	for _, owner := range d.subnets {
		out[owner] = true
	}
	return out
}
