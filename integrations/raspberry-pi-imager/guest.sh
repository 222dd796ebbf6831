# shellcheck shell=bash
# Runs in the lab's Raspberry Pi 4 at two boots: the first is that of a card with the files of this folder on its boot
# partition, and ends in a reboot; the second is as its owner has it from then on.
. /share/guest-lib.sh
set -euo pipefail
export COLUMNS=100
memory() { grep -qw memory /sys/fs/cgroup/cgroup.controllers; }
fail() { echo "failed: $*"; exit 1; }

echo "kernel command line: $(cat /proc/cmdline)"
if [ ! -e /var/lib/edgeprep-seen ]; then
    touch /var/lib/edgeprep-seen
    if memory; then fail 'there is a memory controller before'; fi
    # What edgeprep started waits for cloud-init, and reboots this machine.
    echo 0 >/share/out/rc
    timeout 900 cloud-init status --wait --long || echo "cloud-init status: $?"
    cat /var/log/cloud-init-output.log
    sync
    sleep 300
    echo 1 >/share/out/rc
    fail 'no reboot came'
fi
timeout 900 cloud-init status --wait --long || fail 'cloud-init does not say done'
cat /boot/firmware/cmdline.txt
grep -q 'ds=nocloud;i=rpi-imager-1' /boot/firmware/cmdline.txt || fail "Imager's words are gone"
memory || fail 'there is no memory controller'
edgeprep check --stack podman
import_bb
[ "$(as_user podman run --rm --memory 64m localhost/bb:1 cat /sys/fs/cgroup/memory.max)" = 67108864 ] ||
    fail 'no memory limit'
echo 'podman limits memory'
