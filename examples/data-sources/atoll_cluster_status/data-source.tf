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

data "atoll_cluster_status" "web" {
  cluster = atoll_cluster.web
  nodes   = atoll_node.web
}

check "cluster" {
  assert {
    condition     = data.atoll_cluster_status.web.healthy
    error_message = join("\n", data.atoll_cluster_status.web.reasons)
  }
}
