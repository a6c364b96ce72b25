//go:build linux

package drills

// Found says of each kind of line how often a journal has it.
func Found(journal string) map[string]int {
	lines := readJournal("sg1", journal)
	return map[string]int{
		"alive": len(matching(lines, saysAlive)), "dead": len(matching(lines, saysDead)), "unready": len(matching(lines, saysUnready)),
		"unfit": len(matching(lines, saysUnfit)), "removed": len(matching(lines, saysRemoved)),
		"away": len(matching(lines, saysAway)), "back": len(matching(lines, saysBack)),
	}
}
