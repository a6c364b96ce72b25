variable "cluster" {
  description = "Name of the cluster."
  type        = string
  default     = "web"
}

variable "mesh_cidr" {
  description = "Private network of the mesh. It must not be in use at any of the sites."
  type        = string
  default     = "10.66.0.0/16"

  validation {
    condition     = can(cidrhost(var.mesh_cidr, 0))
    error_message = "Write a network, for example 10.66.0.0/16."
  }
}

variable "mesh_driver" {
  description = "Technology of the mesh, tinc or wireguard. It cannot change once the cluster is there."
  type        = string
  default     = "tinc"
}

variable "mesh_key_generation" {
  description = "Raise it to have every node replace its key of the mesh, one after another, while the mesh runs on."
  type        = number
  default     = 1
}

variable "machines" {
  description = "Machines that exist, by node name: whose they are, where they stand, how to reach them over SSH."
  type = map(object({
    provider = string
    site     = string
    host     = string
    port     = optional(number, 22)
    user     = optional(string, "root")
    host_key = optional(string)
  }))

  # The lab's machines. They are at documentation addresses, which lead nowhere on the Internet.
  default = {
    hk1 = { provider = "colo", site = "hong-kong", host = "198.51.100.10" }
    hk2 = { provider = "vps", site = "hong-kong", host = "198.51.100.74" }
  }
}

variable "seeded" {
  description = "Machines that boot with a seed, by node name: whose they are, where they stand, where they will answer, which is left out for one that nobody can call, as behind address translation."
  type = map(object({
    provider = string
    site     = string
    host     = optional(string)
  }))
  default = {}
}

variable "image" {
  description = "Manifest of the node image to upload to Linode, such as .build/images/current.manifest.json. Null when it is there: see linodes."
  type        = string
  default     = null
}

variable "linodes" {
  description = "Linodes to make, by node name. The image, with Atoll's agent in it, is one that Linode has; it does not count when var.image is given."
  type = map(object({
    region = string
    type   = optional(string, "g6-nanode-1")
    image  = optional(string, "private/1")
  }))

  default = {
    sg1 = { region = "ap-south" }
  }

  validation {
    condition     = length(distinct(concat(keys(var.linodes), keys(var.machines), keys(var.seeded)))) == length(var.linodes) + length(var.machines) + length(var.seeded)
    error_message = "A node is a machine, a seeded machine or a Linode: no name may be in two of the maps."
  }
}

variable "website" {
  description = "What the nodes serve together through Cloudflare: its hostname, the zone, the application's port on each node, what it is asked to find out whether it is well, every how many seconds Cloudflare asks, how it chooses a site for a visitor, whether nodes take a dead one of them out of service at once, and which nodes are to get no new visitors. Null for nothing."
  type = object({
    hostname      = string
    zone          = string
    port          = optional(number, 8080)
    ready         = optional(string, "/ready")
    interval      = optional(number, 60)
    steering      = optional(string, "dynamic_latency")
    quick_removal = optional(bool, true)
    disabled      = optional(set(string), [])
  })

  # The lab's zone. Ten seconds take Cloudflare's dearest plan, which the lab has. Its visitors all come from one place, and are to
  # see every site.
  default = { hostname = "www.example.com", zone = "example.com", interval = 10, steering = "random" }
}

variable "removal_token" {
  description = "Token with which the nodes take a dead one of them out of service: see README.md. It is in no state, plan or log."
  type        = string
  default     = null
  ephemeral   = true
  sensitive   = true
}

variable "database" {
  description = "The database: which three nodes have the data, the first of them where writes begin; MySQL's settings; by which program applications reach it; which providers and sites may have a majority of the votes. password_version changes together with the password. Null for nothing."
  type = object({
    voters           = list(string)
    settings         = optional(map(string))
    password_version = optional(number, 1)
    router           = optional(string, "mysqlrouter")
    accept = optional(object({
      provider_majority = optional(set(string))
      site_majority     = optional(set(string))
    }))
  })

  # Two of the lab's machines are at one site, of two providers. All of them share the memory of one machine.
  default = {
    voters   = ["hk1", "hk2", "sg1"]
    accept   = { site_majority = ["hong-kong"] }
    settings = { innodb_buffer_pool_size = "128M" }
  }
}

variable "database_password" {
  description = "Password of the database's user app: see README.md. It is in no state, plan or log."
  type        = string
  default     = null
  ephemeral   = true
  sensitive   = true
}

variable "files" {
  description = "Directory trees that two nodes keep equal, by name: where they are, on which two nodes, the account that they belong to, and where directories that are named by an old date go. A tree on more nodes is several of them, a star: its centre leads each pair, and its backup leads one with each other node that stands in for the centre. Empty for none."
  type = map(object({
    path  = string
    nodes = set(string)
    owner = optional(string, "www-data")
    # The node that drives the synchronization; the first by name when null.
    leader = optional(string)
    # The centre of the star that this pair stands in for while that is dead; null for a pair that always works.
    standby_for           = optional(string)
    standby_after_seconds = optional(number, 30)
    cold = optional(object({
      path            = string
      older_than_days = optional(number, 30)
      pattern         = optional(string, "YYYY/MM/DD")
    }))
    # What a node runs after changes of the other one have arrived there, as the owner; null for nothing.
    after_change = optional(object({
      command         = list(string)
      timeout_seconds = optional(number, 300)
    }))
  }))
  default = { uploads = { path = "/srv/uploads", nodes = ["hk1", "sg1"] } }
}
