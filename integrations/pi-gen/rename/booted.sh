# shellcheck shell=bash
# Runs in a machine that booted the root, twice: at the first boot, in which the user edge becomes mara, and at the next.
set -euo pipefail
id mara
systemctl show -p Result --value userconfig.service
# The boot is complete when this runs, with all of multi-user.target.
[ -e /var/lib/systemd/linger/mara ]
[ ! -e /var/lib/systemd/linger/edge ]
for ((tries = 0; tries < 240; tries++)); do
    if systemctl is-active --quiet user@1000.service; then break; fi
    sleep 0.5
done
systemctl is-active user@1000.service
grep -q ^mara: /etc/subuid
# What the script of the stage avoids: now that the user lingers, nobody can rename them.
if usermod -l other mara; then echo 'a lingering user was renamed'; exit 1; fi
