// Package api is the agents' HTTPS API, both ends of it: the handler that an agent serves, and the client with which the
// provider, the command line and the other agents call it. It is the only way to talk to an agent, and both ends know each
// other by the proofs of package trust.
package api
