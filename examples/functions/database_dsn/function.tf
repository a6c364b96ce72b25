variable "reports_password" {
  type      = string
  sensitive = true
}

# An application's configuration, the same on every node: 127.0.0.1:6446 is the node's own router.
resource "terraform_data" "configuration" {
  input = {
    go   = provider::atoll::database_dsn(atoll_database.app, "go", "write", "nextcloud", "nextcloud")
    pdo  = provider::atoll::database_dsn(atoll_database.app, "pdo", "write", "nextcloud", "nextcloud")
    jdbc = provider::atoll::database_dsn(atoll_database.app, "jdbc", "write", "shop", "shop")
  }
}

# With the password in it, and for reads alone.
output "reports" {
  value     = provider::atoll::database_dsn(atoll_database.app, "url", "read", "nextcloud", "reports", var.reports_password)
  sensitive = true
}
