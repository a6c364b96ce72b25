package probe

// How much one packet moves the averages of a loss: about the last 10, the last 30 and the last 100, which are 1 s, 3 s and 10 s in a small
// cluster, and a third of that while a path is looked at closer.
const (
	fastWeight = 1.0 / 10
	midWeight  = 1.0 / 30
	slowWeight = 1.0 / 100
	// rttWeight is that of a round trip.
	rttWeight = 1.0 / 10
)

// Loss is the share of packets that were lost, from 0 to 1, as moving averages.
type Loss struct {
	// Fast is of about the last 10 packets, Mid of about the last 30, Slow of about the last 100.
	Fast float64
	Mid  float64
	Slow float64
	// Counted is how many packets the averages are of.
	Counted uint64
}

// add takes one packet into the averages. That of the first ones is their plain average, so that the first packet does not count
// for everything.
func (l *Loss) add(lost bool) {
	value := 0.0
	if lost {
		value = 1
	}
	l.Counted++
	l.Fast += max(fastWeight, 1/float64(l.Counted)) * (value - l.Fast)
	l.Mid += max(midWeight, 1/float64(l.Counted)) * (value - l.Mid)
	l.Slow += max(slowWeight, 1/float64(l.Counted)) * (value - l.Slow)
}
