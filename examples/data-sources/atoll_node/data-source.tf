resource "atoll_cluster" "web" {
  name      = "web"
  mesh_cidr = "10.66.0.0/16"
}

resource "atoll_node" "sg1" {
  cluster = atoll_cluster.web
  name    = "sg1"

  linode = {
    region = "ap-south"
    type   = "g6-nanode-1"
    image  = "private/1"
  }
}

# Any node knows every other; here it is asked for itself.
data "atoll_node" "sg1" {
  cluster = atoll_cluster.web
  name    = "sg1"
  from    = atoll_node.sg1.endpoints
}

output "mesh_address" {
  value = data.atoll_node.sg1.mesh_address
}
