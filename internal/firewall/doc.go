// Package firewall keeps a node's own packet filter in the kernel, as one nftables table that is replaced as a whole.
//
// A change that could lock somebody out is tried first: the kernel is given the new rules together with those that were confirmed
// last, and a set whose elements time out decides which of them hold. Unless somebody comes through the new rules in time, the
// kernel itself goes back to the old ones: no process has to live for that, no disk to answer and no clock to be right. What is
// loaded at boot is what was confirmed last.
package firewall
