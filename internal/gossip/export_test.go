package gossip

// Kill stops gossip without a word to the others, like a power cut.
func (g *Gossip) Kill() error { return g.stop(func() {}) }
