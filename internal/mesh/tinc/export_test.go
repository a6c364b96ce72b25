package tinc

// Internals for tests: the configuration as text and what follows from a log.

// MainFile and friends are where the driver writes.
const (
	UnitName = unitName
	HostsDir = hostsDir
	LogPath  = logPath
	CorePath = corePath
	KeyPath  = keyPath
	UpPath   = upPath

	NextKeyPath = nextKeyPath
)

// Connected returns the peers that are connected after a log, by tinc's name, each with the number of connections.
func Connected(log string) map[string]int {
	lines, _ := messages(log)
	c := connections{}
	for _, line := range lines {
		c.follow(line)
	}
	out := map[string]int{}
	for name := range c {
		if c.up(name) {
			out[name] = len(c[name])
		}
	}
	return out
}

// CanonicalKey is canonicalKey.
func CanonicalKey(text string) (string, error) { return canonicalKey(text) }

// Payload is payload.
func Payload(pathMTU int) int { return payload(pathMTU) }
