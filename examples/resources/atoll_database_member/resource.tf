resource "atoll_cluster" "web" {
  name      = "web"
  mesh_cidr = "10.66.0.0/16"
}

locals {
  regions = {
    sg1 = "ap-south"
    os1 = "jp-osa"
    fr1 = "eu-central"
    sg2 = "ap-south"
  }
}

resource "atoll_node" "web" {
  for_each = local.regions

  cluster = atoll_cluster.web
  name    = each.key

  linode = {
    region = each.value
    type   = "g6-nanode-1"
    image  = "private/1"
  }
}

resource "atoll_database" "app" {
  cluster           = atoll_cluster.web
  name              = "app"
  preferred_primary = atoll_node.web["sg1"]
  databases         = ["nextcloud"]
  accept            = { provider_majority = ["linode"] }
}

# Three nodes have the data, one of each site.
resource "atoll_database_member" "app" {
  for_each = toset(["sg1", "os1", "fr1"])

  database = atoll_database.app
  node     = atoll_node.web[each.key]
}

# The second node in Singapore has an application but no data: it runs the router only.
resource "atoll_database_member" "router" {
  database = atoll_database.app
  node     = atoll_node.web["sg2"]
  role     = "client"
}
