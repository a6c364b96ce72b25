locals {
  # Calls of procedures have a session of their own, and paths with encoded slashes.
  rpc = provider::atoll::apache_balancer("rpc", atoll_node.web, {
    port          = 8080
    paths         = ["/rpc"]
    nocanon       = true
    sticky_cookie = "rpcid"
  })

  web = provider::atoll::apache_balancer("web", atoll_node.web, {
    port             = 8080
    except           = ["/rpc", "/server-status"]
    sticky_cookie    = "JSESSIONID"
    sticky_parameter = "jsessionid"
    node_settings    = { sg1 = { weight = 2 } }
  })
}

# What the virtual host includes.
output "virtual_host" {
  value = "${local.rpc}${local.web}"
}
