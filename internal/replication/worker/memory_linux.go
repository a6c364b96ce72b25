package worker

import (
	"bytes"
	"fmt"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"sync"
	"time"
)

const (
	// pressInterval is how often it is looked whether the memory suffices, pressMost how many looks in a row have to say the same.
	pressInterval = 10 * time.Second
	pressMost     = 6
	// pressShare is how much of the limit, in per cent, must be taken by what cannot be read again from the disk: what is kept of files gives
	// way without harm.
	pressShare = 85
)

// pressure finds out whether a unit is slowed down for good because it may use too little memory (memory.high of cgroup v2: beyond it
// programs wait until something was taken back, and what is in use cannot be where there is no swap). It is safe for concurrent use.
type pressure struct {
	// group is the directory of the unit's control group, "" where there is none.
	group string

	mu     sync.Mutex
	looked time.Time
	high   int64
	// streak counts looks in a row that have said what short does not say.
	streak int
	short  bool
}

// ownPressure is of the unit that this process runs in.
func ownPressure() *pressure {
	text, err := os.ReadFile("/proc/self/cgroup")
	path, ok := strings.CutPrefix(strings.TrimSpace(string(text)), "0::")
	if err != nil || !ok || strings.Contains(path, "\n") {
		return &pressure{} // no cgroup v2, or not alone
	}
	return &pressure{group: filepath.Join("/sys/fs/cgroup", path)}
}

// warning says that the unit is short of memory, "" while it is not, or not known to be.
func (p *pressure) warning(now time.Time) string {
	p.mu.Lock()
	defer p.mu.Unlock()
	limit, ok := p.number("memory.high")
	if p.group == "" || !ok {
		return "" // none, or "max"
	}
	if now.Sub(p.looked) >= pressInterval {
		first := p.looked.IsZero()
		high, used := p.field("memory.events", "high"), p.field("memory.stat", "anon")+p.field("memory.stat", "slab_unreclaimable")
		pressed := !first && high > p.high && used*100 >= limit*pressShare
		p.looked, p.high = now, high
		if p.streak++; pressed == p.short {
			p.streak = 0
		}
		if p.streak >= pressMost {
			p.short, p.streak = pressed, 0
		}
	}
	if !p.short {
		return ""
	}
	return fmt.Sprintf("its programs are slowed down all the time, since they may use %d MiB of memory and need more: raise limits.memory_mib", limit>>20)
}

// number reads a file that holds one.
func (p *pressure) number(file string) (int64, bool) {
	text, err := os.ReadFile(filepath.Join(p.group, file))
	if err != nil {
		return 0, false
	}
	n, err := strconv.ParseInt(strings.TrimSpace(string(text)), 10, 64)
	return n, err == nil
}

// field reads one of the numbers of a file that has a name before each, 0 when it is not there.
func (p *pressure) field(file, name string) int64 {
	text, err := os.ReadFile(filepath.Join(p.group, file))
	if err != nil {
		return 0
	}
	for line := range bytes.Lines(text) {
		if value, ok := bytes.CutPrefix(bytes.TrimSpace(line), []byte(name+" ")); ok {
			n, _ := strconv.ParseInt(string(value), 10, 64) // the kernel's own
			return n
		}
	}
	return 0
}
