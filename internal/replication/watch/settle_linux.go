package watch

import "time"

// createSettle is how long a file may take from its creation to its first byte before it is reported empty. A hard link
// is created, and nothing else happens to it.
const createSettle = 25 * time.Millisecond

// writing is a file that has changed and may be in the middle of it.
type writing struct {
	since, last time.Time
	wait        time.Duration // how long it must be left alone
	own         bool
}

// settling holds back files that are being written, until they are closed (done), left alone for some time, or have been
// written to for long.
type settling struct {
	settle, most time.Duration
	files        map[string]writing
	next         time.Time // nothing is due before
}

// touch notes that a file was created or written to.
func (s *settling) touch(path string, created, own bool, now time.Time) {
	w, ok := s.files[path]
	if !ok {
		w = writing{since: now, own: own}
	}
	w.last, w.wait, w.own = now, s.settle, w.own && own
	if created {
		w.wait = createSettle
	}
	if s.files == nil {
		s.files = map[string]writing{}
	}
	s.files[path] = w
	if due := s.due(w); len(s.files) == 1 || due.Before(s.next) {
		s.next = due
	}
}

func (s *settling) due(w writing) time.Time {
	due := w.last.Add(w.wait)
	if latest := w.since.Add(s.most); latest.Before(due) {
		return latest
	}
	return due
}

// done forgets a file, and says whether only own processes wrote to it.
func (s *settling) done(path string, own bool) bool {
	if w, ok := s.files[path]; ok {
		delete(s.files, path)
		return own && w.own
	}
	return own
}

// expire hands over the files that are due; all of them when there are too many.
func (s *settling) expire(now time.Time, add func(Change)) {
	if len(s.files) == 0 || now.Before(s.next) && len(s.files) <= mostPaths {
		return
	}
	everything := len(s.files) > mostPaths
	s.next = time.Time{}
	for path, w := range s.files {
		if due := s.due(w); !everything && due.After(now) {
			if s.next.IsZero() || due.Before(s.next) {
				s.next = due
			}
			continue
		}
		delete(s.files, path)
		add(Change{Path: path, Own: w.own})
	}
}

// pending returns when something is due.
func (s *settling) pending() (time.Time, bool) {
	return s.next, len(s.files) > 0
}
