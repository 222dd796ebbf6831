# The fresh machine, set up by hand for every stack, as the documentation of each says.
set -e
install -m 755 /var/lib/edgeprep-lab/{k3s,k3d} /usr/local/bin/
mkdir -p /etc/systemd/system/user@.service.d
printf '[Service]\nDelegate=cpu cpuset io memory pids\n' >/etc/systemd/system/user@.service.d/delegate.conf
cat >/etc/modules-load.d/rootless.conf <<'MODULES'
br_netfilter
ip_tables
iptable_nat
iptable_filter
ip6_tables
ip6table_nat
ip6table_filter
vxlan
MODULES
cat >/etc/sysctl.d/99-rootless.conf <<'SYSCTL'
net.ipv4.ip_forward = 1
net.ipv4.ip_unprivileged_port_start = 0
net.ipv4.ping_group_range = 0 2147483647
net.ipv4.conf.default.rp_filter = 2
fs.inotify.max_user_instances = 8192
fs.inotify.max_user_watches = 524288
kernel.keys.maxkeys = 20000
kernel.keys.maxbytes = 2000000
SYSCTL
as_user systemctl --user enable podman.socket
