resource "atoll_cluster" "web" {
  name      = "web"
  mesh_cidr = "10.66.0.0/16"
}

locals {
  regions = {
    sg1 = "ap-south"
    os1 = "jp-osa"
    fr1 = "eu-central"
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

# What users upload at either of the two nodes is on the other within a second or so.
resource "atoll_replication_pair" "uploads" {
  name  = "uploads"
  owner = "www-data"

  nodes = {
    sg1 = { node = atoll_node.web["sg1"], path = "/srv/uploads" }
    os1 = { node = atoll_node.web["os1"], path = "/srv/uploads" }
  }
}

# The code of an application: after changes of one node have arrived on the other, that clears its caches and migrates what has to be.
resource "atoll_replication_pair" "app" {
  name  = "app"
  owner = "www-data"

  nodes = {
    sg1 = { node = atoll_node.web["sg1"], path = "/srv/app" }
    os1 = { node = atoll_node.web["os1"], path = "/srv/app" }
  }

  after_change = {
    command         = ["/usr/bin/php", "occ", "upgrade", "--no-interaction"]
    timeout_seconds = 600
  }
}

# Photographs are many and may take their time: 4 MiB/s, and of disk and CPU what others leave.
resource "atoll_replication_pair" "photos" {
  name   = "photos"
  owner  = "www-data"
  leader = "sg1"

  nodes = {
    fr1 = { node = atoll_node.web["fr1"], path = "/srv/photos" }
    sg1 = { node = atoll_node.web["sg1"], path = "/srv/photos" }
  }

  exclude           = ["*.tmp", "*.part", "thumbnails/**"]
  objective_seconds = 60

  limits = {
    bandwidth_kib = 4096
    nice          = 10
    io_class      = "idle"
    memory_mib    = 512
  }
}

# One tree on three nodes: sg1 is the centre of the star, and os1 its backup, by way of which fr1 gets everything while sg1 is dead.
resource "atoll_replication_pair" "media" {
  for_each = {
    media-os1     = { nodes = ["sg1", "os1"], leader = "sg1", standby = null }
    media-fr1     = { nodes = ["sg1", "fr1"], leader = "sg1", standby = null }
    media-standby = { nodes = ["os1", "fr1"], leader = "os1", standby = { centre = atoll_node.web["sg1"] } }
  }

  name    = each.key
  owner   = "www-data"
  leader  = each.value.leader
  nodes   = { for name in each.value.nodes : name => { node = atoll_node.web[name], path = "/srv/media" } }
  standby = each.value.standby
}

# What was filed by date, under 2026/03/01, goes to the large disk after a month; a link stays in its place.
resource "atoll_replication_pair" "scans" {
  name  = "scans"
  owner = "www-data"

  nodes = {
    fr1 = { node = atoll_node.web["fr1"], path = "/srv/scans", cold_path = "/archive/scans" }
    os1 = { node = atoll_node.web["os1"], path = "/srv/scans", cold_path = "/archive/scans" }
  }

  cold = {
    older_than_days  = 30
    pattern          = "YYYY/MM/DD"
    interval_minutes = 720
  }
}
