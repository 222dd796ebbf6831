# K3s is started as a unit of the user manager, as k3s-rootless.service is.
as_unit k3s server --rootless
