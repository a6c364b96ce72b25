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
