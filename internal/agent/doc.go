// Package agent is atolld's work: it joins its node to a cluster at first boot and then keeps the node as the cluster's
// signed objects describe it.
//
// An Agent is always in one of two phases. While it waits, it looks for first-boot data and says what it waits for, on the
// health endpoint and the console. Once it has joined, it serves the API, spreads objects, and runs a literal, ordered list
// of level-triggered steps (see loop.go) whenever the store changes, ten seconds have passed, or a step has failed. When
// its node is removed from the cluster it takes back everything it made and waits again.
//
// Every phase can be left at any instruction (power cut, kill -9) and is continued by the next start.
package agent
