# Credentials come from the environment: see README.md.
provider "atoll" {}

resource "atoll_cluster" "web" {
  name      = var.cluster
  mesh_cidr = var.mesh_cidr
  mesh      = { driver = var.mesh_driver, key_generation = var.mesh_key_generation }

  # Nodes whose addresses are known beforehand: whoever joins later asks them for the others.
  seeds = [
    for machine in merge(var.machines, var.seeded) :
    strcontains(machine.host, ":") ? "[${machine.host}]:7443" : "${machine.host}:7443" if machine.host != null
  ]
}

# Machines that exist, wherever they stand: Atoll is installed on them over SSH.
resource "atoll_node" "machine" {
  for_each = var.machines

  cluster        = atoll_cluster.web
  name           = each.key
  failure_domain = { provider = each.value.provider, site = each.value.site }
  host_firewall  = var.host_firewall

  ssh = {
    host     = each.value.host
    port     = each.value.port
    user     = each.value.user
    host_key = each.value.host_key
  }
}

# Machines that nobody can log in to: they boot the node image with a seed, which `atoll seed --cluster web --node NAME`
# makes, and join by themselves. The apply waits for them.
resource "atoll_node" "seeded" {
  for_each = var.seeded

  cluster        = atoll_cluster.web
  name           = each.key
  failure_domain = { provider = each.value.provider, site = each.value.site }
  host_firewall  = var.host_firewall

  seed = { host = each.value.host }
}

# The node image that `make image` has built, unless the Linodes' images are at Linode already.
resource "atoll_image" "node" {
  count = var.image != null && length(local.regions) > 0 ? 1 : 0

  source   = var.image
  region   = local.regions[0]
  replicas = length(local.regions) > 1 ? slice(local.regions, 1, length(local.regions)) : null
}

# Machines that are made.
resource "atoll_node" "linode" {
  for_each = var.linodes

  cluster       = atoll_cluster.web
  name          = each.key
  host_firewall = var.host_firewall

  linode = {
    label    = each.key
    region   = each.value.region
    type     = each.value.type
    image    = var.image == null ? each.value.image : atoll_image.node[0].id
    firewall = var.linode_firewall
  }
}

locals {
  nodes = merge(atoll_node.machine, atoll_node.seeded, atoll_node.linode)
  names = keys(merge(var.machines, var.seeded, var.linodes))

  # Where the image is kept: wherever machines are made of it.
  regions = distinct([for linode in var.linodes : linode.region])

  # Every pair of nodes once. The keys are known at plan time, as for_each wants them.
  pairs = {
    for pair in setproduct(local.names, local.names) :
    "${pair[0]}-${pair[1]}" => { from = pair[0], to = pair[1] }
    if index(local.names, pair[0]) < index(local.names, pair[1])
  }
}

# Each link introduces its nodes to each other and waits until traffic passes in both directions.
resource "atoll_mesh_link" "pair" {
  for_each = local.pairs

  from = local.nodes[each.value.from]
  to   = local.nodes[each.value.to]
}

# What the nodes serve together: requests come through Cloudflare to a node that is well, and there to the application, or over
# the mesh to the one on another node while that is not.
resource "atoll_load_balancer" "www" {
  count = var.website == null ? 0 : 1

  hostname = var.website.hostname
  zone     = var.website.zone
  nodes    = local.nodes
  port     = var.website.port
  steering = var.website.steering
  monitor  = { interval = var.website.interval, timeout = 2, retries = 1 }

  application_check = { type = "http", path = var.website.ready }
  local_proxy       = { port = 80, tls = {} }
  quick_removal     = var.website.quick_removal ? { api_token = var.removal_token } : null

  node_settings = { for name in var.website.disabled : name => { enabled = false } }
}
