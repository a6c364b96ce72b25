package edge

import (
	"maps"
	"slices"
	"time"
)

// Wish is what is to become of a node's endpoint.
type Wish int

// The wishes.
const (
	// Leave leaves it as it is.
	Leave Wish = iota
	// Remove takes it out of service.
	Remove
	// Restore gives it back if it was removed.
	Restore
)

// How long most nodes must find a node well before it is back in service. Each time that it was removed lately doubles it, so that
// a node that dies again and again is out for most of the time.
const (
	Rise     = 10 * time.Second
	riseMost = 160 * time.Second
	// riseSpan is how long a removal counts.
	riseSpan = 10 * time.Minute
)

// Memory is how long nodes have been as they are. Its zero value remembers nothing, as after a restart: then what was removed stays
// so for Rise. Not safe for concurrent use.
type Memory struct {
	well    map[string]time.Time
	dead    map[string]bool
	removed map[string][]time.Time
	// out are those that were dead and are not to be restored yet.
	out map[string]bool
}

// Judge returns what is to become of the nodes that the agreement is about. Now only grows.
func (m *Memory) Judge(a Agreement, now time.Time) map[string]Wish {
	if m.well == nil {
		m.well, m.dead, m.removed, m.out = map[string]time.Time{}, map[string]bool{}, map[string][]time.Time{}, map[string]bool{}
	}
	maps.DeleteFunc(m.well, func(name string, _ time.Time) bool { return a.Well[name] == nil })
	maps.DeleteFunc(m.dead, func(name string, _ bool) bool { return a.Dead[name] == nil })
	wishes := map[string]Wish{}
	for name := range a.Dead {
		wishes[name] = Remove
		m.out[name] = true
		if !m.dead[name] {
			m.dead[name] = true
			m.removed[name] = append(m.recent(name, now), now)
		}
	}
	for name := range a.Well {
		since, known := m.well[name]
		if !known {
			since = now
			m.well[name] = since
		}
		if now.Sub(since) >= m.rise(name, now) {
			wishes[name] = Restore
			delete(m.out, name)
		}
	}
	return wishes
}

// Out returns the nodes that were to be removed and are not to be restored yet.
func (m *Memory) Out() []string { return slices.Collect(maps.Keys(m.out)) }

// recent returns when a node was found dead lately.
func (m *Memory) recent(name string, now time.Time) []time.Time {
	return slices.DeleteFunc(m.removed[name], func(at time.Time) bool { return now.Sub(at) > riseSpan })
}

func (m *Memory) rise(name string, now time.Time) time.Duration {
	m.removed[name] = m.recent(name, now)
	rise := Rise
	for range len(m.removed[name]) - 1 {
		rise = min(2*rise, riseMost)
	}
	return rise
}
