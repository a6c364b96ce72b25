# The image that `make image` has built. New content is uploaded beside the old image, of which one is kept.
resource "atoll_image" "node" {
  source   = ".build/images/current.manifest.json"
  region   = "ap-south"
  replicas = ["jp-osa"]
  tags     = ["web"]
}

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
    image  = atoll_image.node.id
  }
}
