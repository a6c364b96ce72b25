# A cluster of one node, and machines with seed disks, and a Linode, that have a hard time at their first boot.
provider "atoll" {}

variable "machines" {
  type        = map(string)
  description = "Addresses of the machines, by node name."
}

variable "image" {
  type        = string
  description = "Manifest of the image that the Linode is made of."
}

resource "atoll_cluster" "web" {
  name      = "web"
  mesh_cidr = "10.66.0.0/16"
  seeds     = ["198.51.100.10:7443"]
}

resource "atoll_node" "hk1" {
  cluster        = atoll_cluster.web
  name           = "hk1"
  failure_domain = { provider = "colo", site = "hong-kong" }

  ssh = {
    host = "198.51.100.10"
  }
}

resource "atoll_node" "n" {
  for_each = var.machines

  cluster        = atoll_cluster.web
  name           = each.key
  failure_domain = { provider = "colo", site = "hong-kong" }

  seed = {
    host = each.value
  }

  timeouts = {
    create = "20m"
  }
}

resource "atoll_image" "node" {
  source = var.image
  region = "ap-south"
}

resource "atoll_node" "sg1" {
  cluster = atoll_cluster.web
  name    = "sg1"

  linode = {
    label  = "sg1"
    region = "ap-south"
    type   = "g6-nanode-1"
    image  = atoll_image.node.id
  }
}
