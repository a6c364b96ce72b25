package worker

import (
	"encoding/json"
	"strings"
)

// Paths are paths in a word. They are bytes, which JSON's strings are not: base64 keeps them.
type Paths []string

// MarshalJSON implements json.Marshaler.
func (p Paths) MarshalJSON() ([]byte, error) {
	raw := make([][]byte, len(p))
	for i, path := range p {
		raw[i] = []byte(path)
	}
	return json.Marshal(raw)
}

// UnmarshalJSON implements json.Unmarshaler.
func (p *Paths) UnmarshalJSON(data []byte) error {
	var raw [][]byte
	if err := json.Unmarshal(data, &raw); err != nil {
		return err
	}
	*p = make(Paths, len(raw))
	for i, path := range raw {
		(*p)[i] = string(path)
	}
	return nil
}

const (
	// maxPaths bounds the paths of one word, in bytes: a frame has room for more than that in base64.
	maxPaths = 32 << 10
	// maxProblem bounds the text of a problem, in bytes.
	maxProblem = 4 << 10
)

// parts returns words that say the same, each short enough for a frame.
func (w Word) parts() []Word {
	if len(w.Problem) > maxProblem {
		w.Problem = strings.ToValidUTF8(w.Problem[:maxProblem], "")
	}
	look, tidy := w.Look, w.Tidy
	w.Look, look = look.cut()
	if len(look) == 0 && w.Look.size()+tidy.size() <= maxPaths {
		w.Tidy, tidy = tidy, nil
	} else {
		w.Tidy = nil
	}
	parts := []Word{w}
	for len(look) > 0 {
		var part Word
		part.Look, look = look.cut()
		parts = append(parts, part)
	}
	for len(tidy) > 0 {
		var part Word
		part.Tidy, tidy = tidy.cut()
		parts = append(parts, part)
	}
	return parts
}

// perPath is what a path takes beside its own bytes.
const perPath = 8

func (p Paths) size() int {
	size := 0
	for _, path := range p {
		size += len(path) + perPath
	}
	return size
}

// cut returns as many paths as a word has room for, at least one, and the others.
func (p Paths) cut() (first, others Paths) {
	size := 0
	for i, path := range p {
		if size += len(path) + perPath; size > maxPaths && i > 0 {
			return p[:i], p[i:]
		}
	}
	return p, nil
}
