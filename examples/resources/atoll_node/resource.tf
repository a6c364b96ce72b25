resource "atoll_cluster" "web" {
  name      = "web"
  mesh_cidr = "10.66.0.0/16"
}

# A machine that exists: the agent is installed over SSH.
resource "atoll_node" "hk1" {
  cluster = atoll_cluster.web
  name    = "hk1"

  failure_domain = {
    provider = "colo"
    site     = "hong-kong"
  }

  ssh = {
    host     = "hk1.example.net"
    host_key = "ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIBjFWxmCMyK1XC9PZ2vWJbJ1YHeoN1vTjEVVRGNbCdGH"
  }
}

# A machine that nobody can log in to: it boots the node image with the seed that `atoll seed --cluster web --node hk2` makes.
resource "atoll_node" "hk2" {
  cluster = atoll_cluster.web
  name    = "hk2"

  failure_domain = {
    provider = "colo"
    site     = "hong-kong"
  }

  seed = {
    host = "198.51.100.10"
  }

  # Its agent lets in what the cluster needs, from whom it needs it, and nothing else.
  host_firewall = {
    operators = ["203.0.113.0/24"]
  }
}

# A machine that is made.
resource "atoll_node" "sg1" {
  cluster = atoll_cluster.web
  name    = "sg1"

  linode = {
    region = "ap-south"
    type   = "g6-nanode-1"
    image  = "private/1"
    tags   = ["web"]

    # A Cloud Firewall of its own, kept as the cluster needs it.
    firewall = {
      operators = ["203.0.113.0/24"]
    }

    # Yours, beside what makes the machine a node.
    user_data = <<-END
      #cloud-config
      packages: [htop]
    END
  }

  timeouts = {
    create = "15m"
  }
}
