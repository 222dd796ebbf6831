# K3s is started as a unit of the user manager, with the snapshotter of its unit where it has one, else with the one
# that edgeprep would write for these machines.
unit=/home/edge/.config/systemd/user/k3s-rootless.service
snapshotter=$(sed -n 's/^ExecStart=.*--snapshotter=//p' "$unit" 2>/dev/null || true)
as_unit k3s server --rootless "--snapshotter=${snapshotter:-overlayfs}"
