# A plain Debian disk from packages, for `packer build images/qemu` to start from. It needs no plugin and no virtual machine,
# but root: it installs a system into a folder.

variable "output" {
  type        = string
  description = "Folder for disk.qcow2, root.img and SHA256SUMS."
}

variable "mirror" {
  type        = string
  default     = ""
  description = "Debian archive to build from and to leave in the disk; the one of this machine's apt when empty."
}

variable "security_mirror" {
  type        = string
  default     = ""
  description = "Archive of security updates; beside the mirror when empty."
}

variable "snapshot" {
  type        = string
  default     = ""
  description = "Moment of the archive to build from, such as 20261101T000000Z; now when empty."

  validation {
    condition     = can(regex("^([0-9]{8}T[0-9]{6}Z)?$", var.snapshot))
    error_message = "A snapshot is named by its moment, such as 20261101T000000Z."
  }
}

variable "snapshot_service" {
  type        = string
  default     = ""
  description = "Address of the snapshot service that has debian/MOMENT/ and debian-security/MOMENT/."
}

variable "source_date_epoch" {
  type        = string
  default     = env("SOURCE_DATE_EPOCH")
  description = "Time to write into the disk, in seconds since 1970; the snapshot's when empty, and 2026-01-01 without one."

  validation {
    condition     = can(regex("^[0-9]*$", var.source_date_epoch))
    error_message = "Seconds since 1970 are a whole number."
  }
}

variable "check_valid_until" {
  type        = bool
  default     = true
  description = "Refuse archives that are older than they say they are good for. A mirror that stands still needs false, a snapshot does not."
}

variable "root_size" {
  type        = number
  default     = 3072
  description = "Size of the root file system in MiB. It grows over its disk at the first boot."
}

source "null" "base" {
  communicator = "none"
}

build {
  sources = ["source.null.base"]

  provisioner "shell-local" {
    command = "${path.root}/build.sh"
    env = {
      ATOLL_OUTPUT           = var.output
      ATOLL_MIRROR           = var.mirror
      ATOLL_SECURITY_MIRROR  = var.security_mirror
      ATOLL_SNAPSHOT         = var.snapshot
      ATOLL_SNAPSHOT_SERVICE = var.snapshot_service
      ATOLL_VALID_UNTIL      = var.check_valid_until ? "yes" : "no"
      ATOLL_ROOT_SIZE        = var.root_size
      SOURCE_DATE_EPOCH      = var.source_date_epoch
    }
  }
}
