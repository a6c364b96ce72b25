package digest

import (
	"bytes"
	"os/user"
	"slices"
	"strconv"
	"sync"
)

// notes collect what a walk cannot digest. They are safe for concurrent use.
type notes struct {
	mu       sync.Mutex
	problems []Problem
	skipped  [][]byte
	// more is how many are only counted.
	moreProblems, moreSkipped int
}

func (n *notes) add(p Problem) {
	n.mu.Lock()
	defer n.mu.Unlock()
	if len(n.problems) == listed {
		n.moreProblems++
		return
	}
	n.problems = append(n.problems, p)
}

func (n *notes) skip(path string) {
	n.mu.Lock()
	defer n.mu.Unlock()
	if len(n.skipped) == listed {
		n.moreSkipped++
		return
	}
	n.skipped = append(n.skipped, []byte(path))
}

// take returns what was collected, sorted.
func (n *notes) take() (problems []Problem, problemCount int, skipped [][]byte, skippedCount int) {
	n.mu.Lock()
	defer n.mu.Unlock()
	slices.SortFunc(n.problems, func(a, b Problem) int { return bytes.Compare(a.Path, b.Path) })
	slices.SortFunc(n.skipped, bytes.Compare)
	return n.problems, len(n.problems) + n.moreProblems, n.skipped, len(n.skipped) + n.moreSkipped
}

// owners remember the names of users and groups for a walk. They are safe for concurrent use.
type owners struct {
	users, groups sync.Map
}

func (o *owners) user(id uint32) string {
	return remember(&o.users, id, func(number string) (string, error) {
		u, err := user.LookupId(number)
		if err != nil {
			return "", err
		}
		return u.Username, nil
	})
}

func (o *owners) group(id uint32) string {
	return remember(&o.groups, id, func(number string) (string, error) {
		g, err := user.LookupGroupId(number)
		if err != nil {
			return "", err
		}
		return g.Name, nil
	})
}

// remember looks a name up once. One that cannot be looked up is its number, which no name is.
func remember(m *sync.Map, id uint32, look func(string) (string, error)) string {
	if name, ok := m.Load(id); ok {
		if s, ok := name.(string); ok {
			return s
		}
	}
	number := strconv.FormatUint(uint64(id), 10)
	name, err := look(number)
	if err != nil {
		name = number
	}
	m.Store(id, name)
	return name
}
