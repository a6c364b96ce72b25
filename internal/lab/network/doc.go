// Package network is the lab's small internet: one router namespace, one namespace per host with a cable to the router,
// and an operator's workstation. Every packet between two hosts passes the router, where paths can be cut, cut in one
// direction, or made lossy. Nothing of it is reachable from the machine's own network.
package network
