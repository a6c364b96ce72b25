variable "atolld" {
  type        = string
  description = "Path of the agent's program for linux/amd64: from a release, or `make build`."
}

variable "version" {
  type        = string
  description = "Version of the image, such as 1.2.0: the agent's, as a rule. It is part of the files' names."

  validation {
    condition     = can(regex("^[0-9A-Za-z][0-9A-Za-z.+~-]*$", var.version))
    error_message = "A version has letters, digits and . + ~ - and begins with a letter or digit."
  }
}

variable "base_image" {
  type        = string
  description = "Disk to start from, a path or an address: Debian's generic cloud image for amd64, or what images/base makes."
}

variable "base_checksum" {
  type        = string
  description = "Its checksum, such as sha512:… or file:ADDRESS-OF-SHA512SUMS."
}

variable "ssh_key" {
  type        = string
  description = "Path of a private key for this build alone, the public one beside it in .pub: ssh-keygen -t ed25519 -N '' -f build_key."
}

variable "output" {
  type        = string
  description = "Folder for the finished image, its manifest and checksums."
}

variable "databases" {
  type        = list(string)
  default     = []
  description = "Database engines to install: mysql, mariadb, postgresql."

  validation {
    condition     = alltrue([for engine in var.databases : contains(["mysql", "mariadb", "postgresql"], engine)])
    error_message = "The database engines are mysql, mariadb and postgresql."
  }
  validation {
    condition     = !(contains(var.databases, "mysql") && contains(var.databases, "mariadb"))
    error_message = "MySQL and MariaDB cannot be on one machine: choose one of them."
  }
}

variable "mysql_archive" {
  type        = string
  default     = ""
  description = "apt source line of the vendor's MySQL archive, such as \"deb [signed-by=/etc/apt/keyrings/mysql.asc] URL trixie mysql-8.4-lts\". Debian unstable's packages when empty."
}

variable "mysql_key" {
  type        = string
  default     = ""
  description = "Path of that archive's signing key; it lands in /etc/apt/keyrings/mysql.asc."
}

variable "mirror" {
  type        = string
  default     = ""
  description = "Debian archive to build from and to leave in the image; the base disk's when empty."
}

variable "security_mirror" {
  type        = string
  default     = ""
  description = "Archive of security updates; beside the mirror when empty."
}

variable "snapshot" {
  type        = string
  default     = ""
  description = "Moment of the archive to build from, such as 20261101T000000Z; now when empty. A node takes its updates from the mirror all the same."

  validation {
    condition     = can(regex("^([0-9]{8}T[0-9]{6}Z)?$", var.snapshot))
    error_message = "A snapshot is named by its moment, such as 20261101T000000Z."
  }
}

variable "check_valid_until" {
  type        = bool
  default     = true
  description = "Refuse archives that are older than they say they are good for. A mirror that stands still needs false, a snapshot does not."
}

variable "snapshot_service" {
  type        = string
  default     = ""
  description = "Address of the snapshot service that has debian/MOMENT/ and debian-security/MOMENT/."
}

variable "source_date_epoch" {
  type        = string
  default     = env("SOURCE_DATE_EPOCH")
  description = "Time to write into the image as that of its build, in seconds since 1970; the snapshot's when empty, and now without one."

  validation {
    condition     = can(regex("^[0-9]*$", var.source_date_epoch))
    error_message = "Seconds since 1970 are a whole number."
  }
}

variable "accelerator" {
  type        = string
  default     = "kvm"
  description = "How QEMU runs the machine: kvm, or tcg where there is none (some minutes instead of one or two)."
}

variable "cpu_model" {
  type        = string
  default     = "host"
  description = "CPU of the machine; host needs kvm. With tcg, qemu64 with a few additions is the fastest."
}

variable "cpus" {
  type        = number
  default     = 2
  description = "CPUs of the machine."
}

variable "memory" {
  type        = number
  default     = 1024
  description = "Its memory in MiB."
}

variable "compression" {
  type        = number
  default     = 15
  description = "Level of zstd for the raw image, from 1 to 19."
}
