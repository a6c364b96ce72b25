# For an application without a router: the members in the order in which they are tried.
output "jdbc" {
  value = provider::atoll::database_jdbc_url(atoll_database.app, [for node in atoll_node.web : node.mesh_address], "shop", "shop")
}
