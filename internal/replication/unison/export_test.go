package unison

// CauseOf says in a word why unison has ended, by its last words.
func CauseOf(said string) string {
	return map[cause]string{
		unknown: "unknown", lostArchive: "archive", unequal: "unequal", lostTree: "tree", lostLink: "link", lostMonitor: "monitor", lockedFiles: "locked",
	}[causeOf(said)]
}
