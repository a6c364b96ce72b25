// Package adoption makes an existing machine a node over SSH: it checks the machine, installs the agent, hands over the
// first-boot payload and, at the end, takes the agent off again. It trusts no host key at first sight.
package adoption
