package writer

import (
	"context"
	"database/sql"
	"fmt"
	"slices"
	"strings"
	"time"
)

// Record is every write that was tried, in the order in which it ended.
type Record []Write

// By returns the writes that went by some servers.
func (r Record) By(servers ...string) Record {
	return slices.DeleteFunc(slices.Clone(r), func(w Write) bool { return !slices.Contains(servers, w.By) })
}

// Since returns the writes that ended after a moment.
func (r Record) Since(at time.Time) Record {
	return slices.DeleteFunc(slices.Clone(r), func(w Write) bool { return !w.Ended.After(at) })
}

// Acknowledged returns the writes that were.
func (r Record) Acknowledged() Record {
	return slices.DeleteFunc(slices.Clone(r), func(w Write) bool { return w.Error != nil })
}

// Failed returns the writes that were not acknowledged. Some of them may have been written.
func (r Record) Failed() Record {
	return slices.DeleteFunc(slices.Clone(r), func(w Write) bool { return w.Error == nil })
}

// Outage is the longest time without an acknowledged write that ended after a moment. First is zero when it has not ended.
type Outage struct{ Last, First time.Time }

// Length is how long it was; up to now when it has not ended.
func (o Outage) Length() time.Duration {
	if o.First.IsZero() {
		return time.Since(o.Last)
	}
	return o.First.Sub(o.Last)
}

// Outage returns how long no write was acknowledged around or after a fault, by any of the record's servers: from the last success
// before to the first one after. It is never zero: there is time between any two writes.
func (r Record) Outage(fault time.Time) (Outage, error) {
	acknowledged := r.Acknowledged()
	if len(acknowledged) == 0 || !acknowledged[0].Ended.Before(fault) {
		return Outage{}, fmt.Errorf("no write was acknowledged before the fault: %s", r.Failed().Reasons())
	}
	var longest Outage
	for i, w := range acknowledged {
		gap := Outage{Last: w.Ended}
		if i+1 < len(acknowledged) {
			gap.First = acknowledged[i+1].Ended
		}
		if gap.First.IsZero() && (len(r) == 0 || !r[len(r)-1].Ended.After(w.Ended)) {
			continue // the writing was stopped here
		}
		if !gap.First.IsZero() && !gap.First.After(fault) {
			continue
		}
		if gap.Length() > longest.Length() || longest.Last.IsZero() {
			longest = gap
		}
	}
	return longest, nil
}

// Reasons says why writes failed, and how often, the most frequent first, at most three.
func (r Record) Reasons() string {
	counts := map[string]int{}
	for _, w := range r {
		if w.Error != nil {
			counts[reason(w.Error)]++
		}
	}
	var reasons []string
	for text := range counts {
		reasons = append(reasons, text)
	}
	slices.SortFunc(reasons, func(a, b string) int {
		if counts[a] != counts[b] {
			return counts[b] - counts[a]
		}
		return strings.Compare(a, b)
	})
	var parts []string
	for _, text := range reasons[:min(3, len(reasons))] {
		parts = append(parts, fmt.Sprintf("%d times %s", counts[text], text))
	}
	return strings.Join(parts, "; ")
}

// reason is an error without what differs from one connection to the next.
func reason(err error) string {
	text := err.Error()
	if i := strings.LastIndex(text, "->"); i >= 0 {
		text = text[i+2:]
	}
	return text
}

// Lost asks a server which of the record's acknowledged writes it does not have. The server must be up to date.
func (r Record) Lost(ctx context.Context, s Server) (Record, error) {
	there := map[string]map[int64]bool{}
	err := s.Do(ctx, func(ctx context.Context, conn *sql.Conn) error {
		rows, err := conn.QueryContext(ctx, `SELECT client, number FROM atoll_writes`)
		if err != nil {
			return err
		}
		defer func() { _ = rows.Close() }()
		for rows.Next() {
			var client string
			var number int64
			if err := rows.Scan(&client, &number); err != nil {
				return err
			}
			if there[client] == nil {
				there[client] = map[int64]bool{}
			}
			there[client][number] = true
		}
		return rows.Err()
	})
	if err != nil {
		return nil, fmt.Errorf("read what %s has: %w", s.Name, err)
	}
	return slices.DeleteFunc(r.Acknowledged(), func(w Write) bool { return there[w.Client][w.Number] }), nil
}

// Longest returns the longest time between two writes that were acknowledged.
func (r Record) Longest() time.Duration {
	longest := time.Duration(0)
	acknowledged := r.Acknowledged()
	for i := 1; i < len(acknowledged); i++ {
		longest = max(longest, acknowledged[i].Ended.Sub(acknowledged[i-1].Ended))
	}
	return longest
}
