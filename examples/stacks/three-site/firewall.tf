variable "host_firewall" {
  description = "The packet filter that each node keeps: whether it is in force, where the machines are administered from (null for everywhere), what is let in beside what the cluster needs, and how many seconds a change has to be confirmed in. Null for none."
  type = object({
    enforce   = optional(bool, true)
    operators = optional(set(string))
    open = optional(list(object({
      protocol = string
      ports    = optional(set(string))
      peers    = optional(set(string))
    })))
    confirm_within = optional(number, 60)
  })
  default = null
}

variable "linode_firewall" {
  description = "The Cloud Firewall that Atoll makes and keeps for each Linode: where the machines are administered from (null for everywhere), and what is let in beside what the cluster needs. Null for none."
  type = object({
    operators = optional(set(string))
    open = optional(list(object({
      protocol = string
      ports    = optional(set(string))
      peers    = optional(set(string))
    })))
  })
  default = null
}
