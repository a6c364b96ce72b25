package cloudflare

import (
	"strconv"
	"strings"
)

// What the nodes of a load balancer have changed by themselves is recorded at the vendor, at the end of a description: whoever
// reads a pool or load balancer knows what the operator wants of it, and what the nodes have done, without asking anybody else.
// Such a record survives every restart, and it cannot be lost without what it records.
const (
	removedRecord = " removed:"
	drainRecord   = " drain:"
)

// withRemoved puts the names of removed endpoints into a description, in their order.
func withRemoved(description string, names []string) string {
	if len(names) == 0 {
		return description
	}
	return description + removedRecord + strings.Join(names, ",")
}

// splitRemoved returns the description without its record, and the names in it.
func splitRemoved(description string) (plain string, names []string) {
	n := strings.LastIndex(description, removedRecord)
	if n < 0 {
		return description, nil
	}
	list := description[n+len(removedRecord):]
	if list == "" || strings.Contains(list, " ") {
		return description, nil
	}
	return description[:n], strings.Split(list, ",")
}

// withDrain puts the time in seconds that sessions are to drain again later into a description.
func withDrain(description string, seconds int) string {
	return description + drainRecord + strconv.Itoa(seconds)
}

// splitDrain returns the description without its record, and the time in it.
func splitDrain(description string) (plain string, seconds int, recorded bool) {
	n := strings.LastIndex(description, drainRecord)
	if n < 0 {
		return description, 0, false
	}
	seconds, err := strconv.Atoi(description[n+len(drainRecord):])
	if err != nil || seconds < 0 {
		return description, 0, false
	}
	return description[:n], seconds, true
}
