# One node by each way in: a machine that answers by SSH, a Linode of the uploaded image, a machine with a seed disk.
provider "atoll" {}

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

resource "atoll_node" "sg1" {
  cluster = atoll_cluster.web
  name    = "sg1"

  linode = {
    label  = "sg1"
    region = "ap-south"
    type   = "g6-nanode-1"
    image  = "private/1"
  }
}

resource "atoll_mesh_link" "hk1_sg1" {
  from = atoll_node.hk1
  to   = atoll_node.sg1
}
