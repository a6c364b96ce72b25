//go:build linux

package vm

import "github.com/atollhq/terraform-provider-atoll/internal/lab/nodes"

// Requirements lists every command that virtual machines need beyond what each lab does.
func Requirements() []nodes.Requirement {
	return []nodes.Requirement{
		{Command: "qemu-system-x86_64", Package: "qemu-system-x86", Purpose: "run virtual machines"},
		{Command: "qemu-img", Package: "qemu-utils", Purpose: "make their disks"},
		{Command: "debugfs", Package: "e2fsprogs", Purpose: "find the kernel on a disk without partitions"},
		{Command: "openssl", Package: "openssl", Purpose: "hash the password that a cloud gives root"},
	}
}
