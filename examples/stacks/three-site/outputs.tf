output "nodes" {
  description = "Where each node is."
  value = {
    for name, node in local.nodes : name => {
      provider     = node.failure_domain.provider
      site         = node.failure_domain.site
      addresses    = node.addresses
      mesh_address = node.mesh_address
    }
  }
}

output "signing_key" {
  description = "Public half of the signing key that the cluster trusts."
  value       = atoll_cluster.web.public_key
}

output "website" {
  description = "Where visitors go, null for nowhere."
  value       = one(atoll_load_balancer.www[*].hostname)
}

output "database" {
  description = "Where applications on a node reach the database, null for nowhere."
  value       = var.database == null ? null : "127.0.0.1:${atoll_database.app[0].router.write_port}"
}
