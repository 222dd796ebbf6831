# What `make check-preflight` of Usernetes stops at (Makefile.d/check-preflight.sh), then a node with the
# network, ports and controllers of its docker-compose.yaml, and kubeadm's wish for two processors.
set -e
for controller in cpuset memory pids cpu io; do
    grep -qw "$controller" /sys/fs/cgroup/user.slice/user-1000.slice/user@1000.service/cgroup.controllers ||
        { echo "controller $controller is not delegated"; exit 1; }
done
[ "$(cat /proc/sys/net/ipv4/conf/default/rp_filter)" != 1 ] || { echo "rp_filter is 1"; exit 1; }
for module in br_netfilter ip6_tables ip6table_nat ip_tables iptable_nat vxlan; do
    [ -d "/sys/module/$module" ] || { echo "module $module is not loaded"; exit 1; }
done
for program in make jq podman-compose; do command -v "$program"; done
as_user podman network exists usernetes || as_user podman network create usernetes >/dev/null
node_options='--network usernetes --publish 2379:2379 --publish 6443:6443 --publish 10250:10250 --publish 8472:8472/udp'
# shellcheck disable=SC2034 # node reads it
node_checks='for c in cpu cpuset io memory pids; do grep -qw $c /sys/fs/cgroup/cgroup.controllers; done
    [ "$(nproc)" -ge 2 ] || { echo "kubeadm wants two processors"; exit 1; }
    ip link add flannel.1 type vxlan id 1 dev eth0 dstport 8473'
node
pgrep -u edge slirp4netns
