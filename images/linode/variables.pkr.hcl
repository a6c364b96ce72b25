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

variable "linode_token" {
  type        = string
  default     = env("LINODE_TOKEN")
  sensitive   = true
  description = "Token of the Linode API that may change Linodes and images."
}

variable "region" {
  type        = string
  description = "Region of the Linode that the image is built on, such as de-fra-2."
}

variable "regions" {
  type        = list(string)
  default     = []
  description = "Regions to copy the image to beside that one."
}

variable "instance_type" {
  type        = string
  default     = "g6-standard-1"
  description = "Plan of that Linode. It lives for some minutes."
}

variable "base_image" {
  type        = string
  default     = "linode/debian13"
  description = "Image to start from."
}

variable "image_label" {
  type        = string
  default     = ""
  description = "Label of the image; atoll-node-VERSION when empty."
}

variable "sbom" {
  type        = string
  default     = "atoll-node.linode.sbom.cdx.json"
  description = "Where the bill of materials goes."
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
