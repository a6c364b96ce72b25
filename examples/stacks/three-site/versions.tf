terraform {
  required_version = ">= 1.8"

  required_providers {
    atoll = {
      source = "atollhq/atoll"
    }
  }
}
