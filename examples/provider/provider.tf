terraform {
  required_providers {
    atoll = {
      source = "atollhq/atoll"
    }
  }
}

# Every credential may come from the environment instead: ATOLL_SIGNING_KEY_FILE, LINODE_TOKEN,
# CLOUDFLARE_API_TOKEN, ATOLL_SSH_PRIVATE_KEY_FILE, ATOLL_AGENT_BINARY. Then an empty block, or none at all, is enough.
provider "atoll" {
  linode = {
    token = var.linode_token
  }

  cloudflare = {
    api_token = var.cloudflare_api_token
  }

  ssh = {
    private_key_file = pathexpand("~/.ssh/id_ed25519")
    known_hosts_file = pathexpand("~/.ssh/known_hosts")
  }

  agent_binary = "${path.root}/atolld-linux-{arch}"
}

variable "linode_token" {
  description = "Personal access token with the scopes linodes:read_write and events:read_only."
  type        = string
  sensitive   = true
}

variable "cloudflare_api_token" {
  description = "API token with the permissions that atoll_load_balancer names."
  type        = string
  sensitive   = true
}
