variable "edge_networks" {
  description = "Where visitors come from who do not come themselves: Cloudflare's networks, as its data source cloudflare_ip_ranges has them."
  type        = set(string)
  default     = ["192.0.2.0/24", "2001:db8::/32"]
}

locals {
  # Visitors stay on a node by their address, which Cloudflare tells.
  nginx = provider::atoll::nginx_upstream("web", atoll_node.web, {
    port           = 8080
    client_address = { header = "CF-Connecting-IP", from = var.edge_networks }
  })
}

# Three files for the machine with nginx: conf.d/web.conf, and two that a server and its locations include.
resource "terraform_data" "nginx" {
  input = {
    "conf.d/web.conf"            = local.nginx.http
    "snippets/web-server.conf"   = local.nginx.server
    "snippets/web-location.conf" = local.nginx.location
  }
}

# By the route in the application's cookie, also for machines that are not nodes of Atoll's; one of them gets no new visitors.
output "shop" {
  value = provider::atoll::nginx_upstream("shop", {
    one = { name = "one", addresses = ["192.0.2.11"], mesh_address = null }
    two = { name = "two", addresses = ["192.0.2.12"], mesh_address = null }
    }, {
    port          = 8080
    method        = "least_conn"
    sticky_cookie = "JSESSIONID"
    node_settings = { one = { weight = 2 }, two = { drain = true } }
  }).http
}
