# Boots an image of a distribution, has edgeprep repair the running machine, boots it again and has it checked.

variable "image" {
  type        = string
  description = "The disk image to begin with, as a path or URL."
}

variable "image_checksum" {
  type        = string
  description = "Of image, such as sha256:...; none for a file of your own"
}

variable "image_format" {
  type    = string
  default = "qcow2"
}

variable "edgeprep" {
  type        = string
  description = "The static program for the machine's architecture."
}

variable "user" {
  type        = string
  default     = "edge"
  description = "Whose rootless containers shall run."
}

variable "stacks" {
  type    = string
  default = "podman"
}

variable "ssh_username" {
  type    = string
  default = "root"
}

variable "ssh_private_key_file" {
  type = string
}

variable "accelerator" {
  type    = string
  default = "kvm"
}

variable "qemuargs" {
  type        = list(list(string))
  default     = []
  description = "Further arguments of qemu, such as -kernel for an image without a boot loader."
}

variable "output" {
  type    = string
  default = "output"
}

source "qemu" "edge" {
  iso_url              = var.image
  iso_checksum         = var.image_checksum
  disk_image           = true
  format               = var.image_format
  accelerator          = var.accelerator
  cpus                 = 2
  memory               = 2048
  headless             = true
  qemuargs             = var.qemuargs
  ssh_username         = var.ssh_username
  ssh_private_key_file = var.ssh_private_key_file
  ssh_timeout          = "10m"
  shutdown_command     = "poweroff"
  output_directory     = var.output
}

build {
  sources = ["source.qemu.edge"]

  provisioner "file" {
    source      = var.edgeprep
    destination = "/tmp/edgeprep"
  }

  # A running machine, so the program of the machine. What runs is not told: the image boots anew.
  provisioner "shell" {
    environment_vars = ["EDGEPREP_USER=${var.user}", "EDGEPREP_STACK=${var.stacks}"]
    execute_command  = "chmod +x {{ .Path }}; {{ .Vars }} {{ .Path }}"
    inline = [
      "install -m 755 /tmp/edgeprep /usr/bin/edgeprep",
      "edgeprep fix --yes --no-activate",
    ]
    # 4: all that is missing is the boot that follows. Not 1, something required is missing, nor 2, a wrong option, 3,
    # something required could not be seen, 5 and 6, a change failed.
    valid_exit_codes = [0, 4]
  }

  provisioner "shell" {
    inline            = ["systemctl reboot"]
    expect_disconnect = true
  }

  # After the boot nothing may be missing.
  provisioner "shell" {
    pause_before     = "5s"
    environment_vars = ["EDGEPREP_USER=${var.user}", "EDGEPREP_STACK=${var.stacks}"]
    inline           = ["edgeprep check"]
  }
}
