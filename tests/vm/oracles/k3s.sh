# K3s is started as a unit of the user manager, with the snapshotter of its unit where it has one, else with the one
# that edgeprep would write for these machines. What a fix has started would be in its way.
unit=k3s-rootless.service
for verb in 'stop --no-block' 'kill --signal=KILL' stop; do
    # shellcheck disable=SC2086 # words
    as_user timeout 60 systemctl --user $verb "$unit" 2>/dev/null || true
done
snapshotter=$(sed -n 's/^ExecStart=.*--snapshotter=//p' "/home/edge/.config/systemd/user/$unit" 2>/dev/null || true)
as_unit k3s server --rootless "--snapshotter=${snapshotter:-overlayfs}"
