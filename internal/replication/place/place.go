// Package place tells what a directory is on: which file system, what that keeps and has room for, and how much is in it already. It is asked
// before a pair of trees is made there, and changes nothing.
package place

// Facts are what is known of a directory and of what it is on. Of one that is not there yet, they are of the nearest directory above it.
type Facts struct {
	// Exists tells that there is something of that name, and NoDirectory that it is something else than a directory.
	Exists      bool `json:"exists"`
	NoDirectory bool `json:"no_directory,omitempty"`
	// Hidden tells that whoever looked may not see what is there, so that nothing else is known.
	Hidden bool `json:"hidden,omitempty"`
	// FileSystem is the type of the file system as the kernel names it, such as ext4 (/proc/filesystems), and Mount where it is mounted.
	FileSystem string `json:"file_system"`
	Mount      string `json:"mount"`
	// Mounts are where in the directory other file systems are mounted, as paths from it.
	Mounts []string `json:"mounts,omitempty"`
	// ReadOnly tells that nobody can write to it.
	ReadOnly bool `json:"read_only,omitempty"`
	// Attributes and ACLs tell that it keeps extended attributes of users and POSIX access control lists.
	Attributes bool `json:"attributes"`
	ACLs       bool `json:"acls"`
	// Handles tells that it has file handles, without which changes have to be watched directory by directory.
	Handles bool `json:"handles"`
	// FreeBytes is what users may still write, FreeInodes how many files they may still make, -1 for as many as bytes allow.
	FreeBytes  int64 `json:"free_bytes"`
	FreeInodes int64 `json:"free_inodes"`
	// Watches is how many directories a user of the machine may watch one by one, 0 when that is not known.
	Watches int64 `json:"watches"`
	// Directories, Files (whatever is no directory) and Bytes are what the directory holds, without what is mounted in it. Counted tells that
	// all of it was counted in the time that there was; otherwise there is at least that much.
	Directories int64 `json:"directories"`
	Files       int64 `json:"files"`
	Bytes       int64 `json:"bytes"`
	Counted     bool  `json:"counted"`
}

// Volatile tells that everything in the directory is gone after a restart of the machine, or was never on a disk.
func (f Facts) Volatile() bool {
	switch f.FileSystem {
	case "tmpfs", "ramfs", "devtmpfs", "hugetlbfs", "proc", "sysfs", "cgroup", "cgroup2", "debugfs", "tracefs", "securityfs", "configfs", "efivarfs", "bpf", "mqueue", "devpts", "autofs":
		return true
	}
	return false
}

// Poor tells that the file system keeps neither owners nor permissions.
func (f Facts) Poor() bool {
	switch f.FileSystem {
	case "vfat", "msdos", "exfat", "ntfs", "ntfs3", "fuseblk", "hfs", "iso9660", "udf":
		return true
	}
	return false
}

// Shared tells that other machines may write to the file system, too, of which nobody is told here.
func (f Facts) Shared() bool {
	switch f.FileSystem {
	case "nfs", "nfs4", "cifs", "smb3", "ceph", "lustre", "gfs2", "ocfs2", "9p", "virtiofs", "afs", "fuse.glusterfs", "fuse.sshfs", "fuse.s3fs", "fuse.ceph", "fuse.rclone", "fuse.juicefs":
		return true
	}
	return false
}
