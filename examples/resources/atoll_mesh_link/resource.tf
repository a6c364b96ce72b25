resource "atoll_cluster" "web" {
  name      = "web"
  mesh_cidr = "10.66.0.0/16"
}

resource "atoll_node" "web" {
  for_each = {
    sg1 = "ap-south"
    os1 = "jp-osa"
  }

  cluster = atoll_cluster.web
  name    = each.key

  linode = {
    region = each.value
    type   = "g6-nanode-1"
    image  = "private/1"
  }
}

resource "atoll_mesh_link" "sg_os" {
  from = atoll_node.web["sg1"]
  to   = atoll_node.web["os1"]

  # This path loses UDP.
  tcp_only = true
}
