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

# Every node, a pool for each site, the site that answers fastest, sessions that stay on a node for half an hour.
resource "atoll_load_balancer" "www" {
  hostname = "www.example.com"
  zone     = "example.com"
  nodes    = atoll_node.web
}

# With more of what can be set.
resource "atoll_load_balancer" "shop" {
  hostname = "shop.example.com"
  zone     = "example.com"
  nodes    = atoll_node.web

  # An application of its own decides whether a node is well.
  monitor = {
    type           = "https"
    port           = 443
    path           = "/ready"
    host_header    = "shop.example.com"
    expected_codes = "2xx"
    interval       = 30
  }

  session_affinity = {
    type  = "cookie"
    ttl   = 3600
    drain = 7200
  }

  steering = "geo"
  sites = {
    ap-south = { regions = ["SEAS", "SAS", "OC"] }
    jp-osa   = { regions = ["NEAS", "WNAM"], priority = 1 }
  }

  # Half of what the other nodes of its site get. With enabled = false it gets nothing new.
  node_settings = {
    os1 = { weight = 0.5 }
  }
}

# A zone without the paid product: one DNS record for each address.
resource "atoll_load_balancer" "static" {
  hostname = "static.example.com"
  zone     = "example.com"
  mode     = "dns"
  nodes    = atoll_node.web
}
