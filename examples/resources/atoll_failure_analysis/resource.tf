resource "atoll_cluster" "web" {
  name      = "web"
  mesh_cidr = "10.66.0.0/16"
}

locals {
  machines = {
    hk1 = { provider = "colo", site = "hong-kong", host = "hk1.example.net" }
    hk2 = { provider = "vps", site = "hong-kong", host = "hk2.example.net" }
    fr1 = { provider = "vps", site = "frankfurt", host = "fr1.example.net" }
  }
}

resource "atoll_node" "web" {
  for_each = local.machines

  cluster        = atoll_cluster.web
  name           = each.key
  failure_domain = { provider = each.value.provider, site = each.value.site }
  ssh            = { host = each.value.host }

  # What the provider's firewall in front of the machine lets in from the other nodes. Leave a name out, and the plan says what breaks.
  firewall = {
    inbound = [
      { protocol = "tcp", ports = [655, 7443], peers = keys(local.machines) },
      { protocol = "udp", ports = [655], peers = keys(local.machines) },
    ]
  }
}

resource "atoll_database" "app" {
  cluster           = atoll_cluster.web
  name              = "app"
  preferred_primary = atoll_node.web["hk1"]

  accept = {
    site_majority     = ["hong-kong"]
    provider_majority = ["vps"]
  }
}

resource "atoll_database_member" "app" {
  for_each = atoll_node.web

  database = atoll_database.app
  node     = each.value
}

resource "atoll_replication_pair" "uploads" {
  name  = "uploads"
  owner = "www-data"

  nodes = {
    hk2 = { node = atoll_node.web["hk2"], path = "/srv/uploads" }
    fr1 = { node = atoll_node.web["fr1"], path = "/srv/uploads" }
  }
}

# Warns, when a plan is made, of what hangs on one thing. That both copies of the uploads are one provider's is known.
resource "atoll_failure_analysis" "web" {
  cluster          = atoll_cluster.web
  nodes            = atoll_node.web
  databases        = { app = atoll_database.app }
  database_members = atoll_database_member.app
  pairs            = { uploads = atoll_replication_pair.uploads }

  accept = {
    "provider/vps" = ["pair/uploads"] # a backup is elsewhere
  }
}

# What nobody has accepted ends a run of CI.
check "no_single_point_of_failure" {
  assert {
    condition     = length(atoll_failure_analysis.web.single_points_of_failure) == 0
    error_message = join("\n", [for f in atoll_failure_analysis.web.findings : f.message if !f.accepted])
  }
}
