resource "atoll_cluster" "web" {
  name      = "web"
  mesh_cidr = "10.66.0.0/16"
}

# With everything that can be set.
resource "atoll_cluster" "lab" {
  name      = "lab"
  mesh_cidr = "10.67.0.0/16"

  mesh = {
    driver = "tinc"
    port   = 1655

    # Raised when the keys are to be replaced.
    key_generation = 2

    tinc = {
      ping_interval = 2
      ping_timeout  = 1
      max_timeout   = 10
    }
  }

  ports = {
    api    = 7443
    health = 7480
    gossip = 7946
  }

  # Where a node that joins later asks for the others.
  seeds = ["hk1.example.net:7443"]
}
