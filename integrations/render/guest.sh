#!/bin/bash
# Runs in a booted machine: the script of render has to put everything into effect, also where the user manager runs.
set -euo pipefail

user=edge
uid=$(id -u "$user")
loginctl enable-linger "$user"
until systemctl is-active --quiet "user@$uid.service"; do sleep 1; done
before=$(systemctl show -P MainPID "user@$uid.service")
# Without K3s, which is not installed, and without what the kernel and systemd set by the size of the machine's memory.
check() {
    /share/edgeprep check --stack podman,podman-kube,k3s --user "$user" --format json \
        --ignore 'stack-programs,k3s-*,ports-free' --ignore 'user-tasks,inotify-limits' >"$1" || echo "check: exit code $?"
}
mkdir -p /share/out
check /share/out/before.json
dash /share/out.shell -n && exit 1
dash /share/out.shell
check /share/out/after.json
[ "$(systemctl show -P MainPID "user@$uid.service")" = "$before" ]
echo "delegated: $(cat "/sys/fs/cgroup/user.slice/user-$uid.slice/user@$uid.service/cgroup.controllers")"
dash /share/out.shell -n
/share/edgeprep check --stack podman,podman-kube,k3s --user "$user" || true
# Nothing that a file and an activation reach may be open.
awk '/"id":/ { id = $2 } /"status":/ { status = $2 } /"fixable": true/ && status ~ /fail/ { print id; open = 1 }
    END { exit open }' /share/out/after.json
echo 'in effect without a boot'
