package worker

import "slices"

// Apart returns the directories that one node alone has moved to its cold root when the engine was started: it is to leave them alone, on the node
// that leads.
func (h *Host) Apart() (dirs []string) {
	h.board.set(func() { dirs = slices.Clone(h.board.apart) })
	return dirs
}
