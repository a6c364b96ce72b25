locals {
  # What users upload at two sites.
  uploads = provider::atoll::replication_mode({
    kind               = "data"
    writers            = "many"
    files              = 40000
    average_bytes      = 150000
    changes_per_minute = 20
    nodes              = 2
    rtt_ms             = 35
    dated              = true
  })
}

# What to write, why, and what to look out for.
output "uploads" {
  value = "${local.uploads.title}: ${local.uploads.do} Since ${join("; ", local.uploads.reasons)}. But ${join("; ", local.uploads.cautions)}."
}

# The table of the ways that there are.
output "table" {
  value = { for name, way in local.uploads.alternatives : name => {
    for criterion in ["maintenance", "complexity", "performance", "scalability", "durability", "consistency", "acls"] :
    criterion => "${way[criterion].grade}: ${way[criterion].why}"
  } }
}
