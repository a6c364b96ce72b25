package mesh

import "context"

// Fitter is a driver whose packets have to be kept from paths that do not take them: it does not find out by itself what a path takes. Its method may be
// called from several goroutines.
type Fitter interface {
	// Fit has packets to these peers of the last view fit into the largest ones that the path takes, in bytes with their IP header; 0 is a path that was measured to
	// take all. A view's own LinkSettings.MTU holds as well where it is less. What is not said of a peer stays as it is, also across restarts of the agent.
	// It may be called with the same sizes any number of times. Without a view it does nothing.
	Fit(ctx context.Context, paths map[string]int) error
}
