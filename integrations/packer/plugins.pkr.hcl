# Packer 1.7 and later fetch the plugin with "packer init"; it is part of Packer before.
packer {
  required_plugins {
    qemu = {
      source  = "github.com/hashicorp/qemu"
      version = ">= 1.0.0"
    }
  }
}
