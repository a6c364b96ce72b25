# One node by each way in: a machine that answers by SSH, a Linode of the uploaded image, a machine with a seed disk. When they are
# asked for, two have a pair, and all three are members of a database.
provider "atoll" {}

variable "image" {
  type = string
}

variable "with_files" {
  type    = bool
  default = false
}

variable "with_database" {
  type    = bool
  default = false
}

variable "database_password" {
  type      = string
  sensitive = true
  ephemeral = true
}

resource "atoll_cluster" "web" {
  name      = "web"
  mesh_cidr = "10.66.0.0/16"
  seeds     = ["198.51.100.10:7443"]
}

resource "atoll_image" "node" {
  source = var.image
  region = "ap-south"
}

resource "atoll_node" "hk1" {
  cluster        = atoll_cluster.web
  name           = "hk1"
  failure_domain = { provider = "colo", site = "hong-kong" }

  ssh = {
    host = "198.51.100.10"
  }
}

resource "atoll_node" "hk3" {
  cluster        = atoll_cluster.web
  name           = "hk3"
  failure_domain = { provider = "colo", site = "hong-kong" }

  seed = {
    host = "198.51.100.74"
  }
}

resource "atoll_node" "sg1" {
  cluster = atoll_cluster.web
  name    = "sg1"

  linode = {
    label     = "sg1"
    region    = "ap-south"
    type      = "g6-nanode-1"
    image     = atoll_image.node.id
    user_data = "#!/bin/sh\necho mine > /var/lib/users-own\n"
  }
}

locals {
  nodes = { hk1 = atoll_node.hk1, hk3 = atoll_node.hk3, sg1 = atoll_node.sg1 }
  pairs = { "hk1-hk3" = ["hk1", "hk3"], "hk1-sg1" = ["hk1", "sg1"], "hk3-sg1" = ["hk3", "sg1"] }
}

resource "atoll_mesh_link" "pair" {
  for_each = local.pairs

  from = local.nodes[each.value[0]]
  to   = local.nodes[each.value[1]]
}

resource "atoll_replication_pair" "uploads" {
  count = var.with_files ? 1 : 0

  name  = "uploads"
  owner = "www-data"
  nodes = { for name in ["hk1", "sg1"] : name => { node = local.nodes[name], path = "/srv/uploads" } }
}

resource "atoll_database" "app" {
  count = var.with_database ? 1 : 0

  cluster           = atoll_cluster.web
  name              = "app"
  preferred_primary = local.nodes["hk1"]
  accept            = { provider_majority = ["colo"], site_majority = ["hong-kong"] }

  databases = ["app"]
  users     = { app = { password = var.database_password, password_version = 1 } }
}

resource "atoll_database_member" "app" {
  for_each = var.with_database ? local.nodes : {}

  database = atoll_database.app[0]
  node     = each.value
}
