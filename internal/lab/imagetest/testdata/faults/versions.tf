terraform {
  required_version = ">= 1.11"

  required_providers {
    atoll = {
      source = "atollhq/atoll"
    }
  }
}
