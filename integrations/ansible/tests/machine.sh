#!/bin/bash
# Runs in a machine of tests/vm/lab at every boot (--ssh): lets Ansible in as the user deploy, who may become root.
set -euo pipefail
card=$(basename "$(ls -d /sys/class/net/e*)")
ip link set dev "$card" up
ip address replace 10.0.2.15/24 dev "$card"
ip route replace default via 10.0.2.2
if [ ! -e /home/deploy ]; then
    useradd --system --create-home --shell /bin/bash deploy
    install -d -o deploy -g deploy -m 700 /home/deploy/.ssh
    install -o deploy -g deploy -m 600 /share/key.pub /home/deploy/.ssh/authorized_keys
    install -m 440 /dev/stdin /etc/sudoers.d/deploy <<<'deploy ALL=(ALL) NOPASSWD: ALL'
    # Stands in for k3s, which Debian does not package.
    install -m 755 /share/k3s /usr/local/bin/k3s
    loginctl enable-linger edge
    # From now on no module can be loaded: what br_netfilter takes is a reboot.
    echo 1 >/proc/sys/kernel/modules_disabled
fi
systemctl is-active ssh.service || systemctl start ssh.service
echo 'the machine is up'
exec sleep infinity
