# One database with a member on three nodes; applications on any node reach it at 127.0.0.1:6446.
resource "atoll_database" "app" {
  count = var.database == null ? 0 : 1

  cluster           = atoll_cluster.web
  name              = "app"
  preferred_primary = local.nodes[var.database.voters[0]]
  settings          = var.database.settings

  databases = ["app"]
  users = {
    app = {
      password         = var.database_password
      password_version = var.database.password_version
    }
  }

  router = { driver = var.database.router }
  accept = var.database.accept
}

# Who has no vote runs the router only.
resource "atoll_database_member" "app" {
  for_each = var.database == null ? {} : local.nodes

  database = atoll_database.app[0]
  node     = each.value
  role     = contains(var.database.voters, each.key) ? "voter" : "client"
}
