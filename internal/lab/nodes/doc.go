// Package nodes boots the lab's machines: a Debian root file system that is built once and cached, an overlay disk per
// node, and a real systemd as PID 1 inside systemd-nspawn. Nodes can lose their power, freeze and come back with the disk
// they had. It needs root on Linux.
package nodes
