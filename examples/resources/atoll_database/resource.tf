variable "database_password" {
  type      = string
  sensitive = true
  ephemeral = true
}

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

# Three votes at three sites. Applications connect to 127.0.0.1:6446 on their own node.
resource "atoll_database" "app" {
  cluster           = atoll_cluster.web
  name              = "app"
  preferred_primary = atoll_node.web["sg1"]

  settings = {
    max_connections         = "300"
    innodb_buffer_pool_size = "256M"
  }

  databases = ["nextcloud"]
  users = {
    nextcloud = {
      password         = var.database_password
      password_version = 1
    }
  }

  # All three machines are Linode's: its failure as a whole stops writes. Without this line that is an error.
  accept = { provider_majority = ["linode"] }
}

resource "atoll_database_member" "app" {
  for_each = atoll_node.web

  database = atoll_database.app
  node     = each.value
}
