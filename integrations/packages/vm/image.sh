# Runs in a machine of tests/vm/lab, and makes it an image that was never booted: the package, a site file, the unit
# for the first boot enabled, and a user without anything.
# shellcheck shell=bash disable=SC1091,SC2154 # the machine has it
. /share/vm/lib.sh
dpkg -i /share/packages/edgeprep_*-1_amd64.deb
mkdir /etc/edgeprep
printf 'user = "edge"\nstacks = ["podman", "k3s"]\n' >/etc/edgeprep/edgeprep.toml
systemctl enable --quiet edgeprep-firstboot.service edgeprep-check.timer
[ ! -e /var/lib/systemd/linger/edge ]
[ ! -e /var/lib/edgeprep/firstboot ]
rm -rf /var/log/journal
sync
