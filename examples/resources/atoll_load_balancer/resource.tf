resource "atoll_cluster" "web" {
  name      = "web"
  mesh_cidr = "10.66.0.0/16"
}

resource "atoll_node" "web" {
  for_each = {
    sg1 = "ap-south"
    os1 = "jp-osa"
    fr1 = "eu-central"
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

# Nodes that do their part: each asks its own application, and sends requests to another node while that is down; together they take
# out a dead one within seconds. The application is at port 8080, Cloudflare and local users go to 80 and 443.
resource "atoll_load_balancer" "app" {
  hostname = "app.example.com"
  zone     = "example.com"
  nodes    = atoll_node.web
  port     = 8080

  application_check = {
    type = "http"
    path = "/ready"
  }
  minimum_nodes = 1

  quick_removal = {
    api_token         = var.removal_token # is in no state, so count up the version when it changes
    api_token_version = 1
  }

  local_proxy = {
    port = 80
    tls  = {} # a certificate of Cloudflare's Origin CA for each node
  }
}

variable "removal_token" {
  type        = string
  ephemeral   = true
  description = "Cloudflare API token with Load Balancing: Monitors and Pools Write, and Load Balancers Write."
}

# A zone without the paid product: one DNS record for each address.
resource "atoll_load_balancer" "static" {
  hostname = "static.example.com"
  zone     = "example.com"
  mode     = "dns"
  nodes    = atoll_node.web
}
