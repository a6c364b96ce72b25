packer {
  required_version = ">= 1.12.0"

  required_plugins {
    linode = {
      source  = "github.com/linode/linode"
      version = ">= 1.0.0"
    }
  }
}
