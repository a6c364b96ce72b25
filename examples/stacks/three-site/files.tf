# Directory trees that two nodes keep equal: what is written on either is on the other at once.
resource "atoll_replication_pair" "files" {
  for_each = var.files

  name   = each.key
  owner  = each.value.owner
  leader = each.value.leader
  nodes = {
    for name in each.value.nodes : name => {
      node      = local.nodes[name]
      path      = each.value.path
      cold_path = each.value.cold == null ? null : each.value.cold.path
    }
  }
  cold = each.value.cold == null ? null : {
    older_than_days = each.value.cold.older_than_days
    pattern         = each.value.cold.pattern
  }
  standby = each.value.standby_for == null ? null : {
    centre        = local.nodes[each.value.standby_for]
    after_seconds = each.value.standby_after_seconds
  }
  after_change = each.value.after_change
}
