locals {
  ports = provider::atoll::ports(
    atoll_cluster.web,
    atoll_node.web,
    { app = atoll_database.app },
    atoll_database_member.app,
    {},
  )
}

# What a vendor's firewall in front of each machine has to let everybody reach.
output "inbound" {
  value = {
    for node, ports in local.ports : node => {
      for protocol in ["tcp", "udp"] : protocol => [for p in ports : p.port if p.open_to == "public" && p.protocol == protocol]
    }
  }
}

# Who connects to the database's server on each node, over the mesh.
output "database_callers" {
  value = { for node, ports in local.ports : node => flatten([for p in ports : p.nodes if p.service == "database"]) }
}
