# For a root that is there as a directory, such as a mounted image, on the machine that runs Packer.

variable "root" {
  type        = string
  description = "The root of the image, as a directory."
}

variable "program" {
  type        = string
  default     = "edgeprep"
  description = "The program, for the machine that runs Packer."
}

variable "root_user" {
  type    = string
  default = "edge"
}

variable "root_stacks" {
  type    = string
  default = "podman"
}

variable "profile" {
  type        = string
  description = "The profile: there is no hardware to recognise one by."
}

source "null" "root" {
  communicator = "none"
}

build {
  sources = ["source.null.root"]

  provisioner "shell-local" {
    environment_vars = [
      "EDGEPREP_USER=${var.root_user}",
      "EDGEPREP_STACK=${var.root_stacks}",
      "EDGEPREP_PROFILE=${var.profile}",
    ]
    inline = ["${var.program} fix --root ${var.root} --no-journal --yes"]
    # 4: all is well when the image has booted.
    valid_exit_codes = [0, 4]
  }
}
