# shellcheck shell=bash disable=SC1091 # that of the lab
# Runs in a machine that booted the image: lingering and delegation are there at the first boot, and edgeprep says of
# the machine what it said of the image.
. /share/guest-lib.sh
set -euo pipefail

for ((tries = 0; tries < 240; tries++)); do
    if systemctl is-active --quiet user@1000.service && [ -S /run/user/1000/bus ]; then break; fi
    sleep 0.5
done
systemctl is-active user@1000.service
controllers=$(cat /sys/fs/cgroup/user.slice/user-1000.slice/user@1000.service/cgroup.controllers)
for controller in cpu cpuset io memory pids; do
    case " $controllers " in *" $controller "*) ;; *) echo "$controller is not delegated: $controllers"; exit 1 ;; esac
done
import_bb
as_user podman run --rm --cpuset-cpus 0 --memory 64m localhost/bb:1 true
echo 'podman run with --cpuset-cpus and --memory works'
[ ! -e /var/lib/edgeprep ]
code=0
edgeprep check --user edge --stack podman,podman-kube --profile generic-x86_64 --format json \
    --output /share/out/edgeprep.json || code=$?
edgeprep check --user edge --stack podman,podman-kube || true
echo "edgeprep check: exit code $code"
exit "$code"
