// Package vm runs a lab's machines as virtual machines of the real node image, under QEMU, with KVM where that works: GRUB or
// the kernel alone start it, its disk is written over a read-only image, and its network card is joined to the cable that
// leads to the lab's router. A machine has the verbs of a container in package nodes: boot, shut down, cut the power,
// freeze, destroy.
package vm
