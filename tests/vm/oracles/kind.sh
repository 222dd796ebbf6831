# kind gets as far as the image of its node, which this machine cannot pull; then a node with its options.
set -e
said=$(as_user env KIND_EXPERIMENTAL_PROVIDER=podman systemd-run --user --scope --quiet -p Delegate=yes \
    kind create cluster --image localhost/absent:1 2>&1) && { echo "$said"; exit 1; }
echo "$said"
grep -qi 'absent' <<<"$said"
# Of its network.go, which is run after the image is there.
as_user podman network exists kind ||
    as_user podman network create -d=bridge --ipv6 --subnet fc00:f853:ccd:e793::/64 kind >/dev/null
node_options='--network kind --publish 127.0.0.1:36443:6443/tcp'
# Of the entrypoint of kind's node.
node_checks='for c in cpu memory pids; do grep -qw $c /sys/fs/cgroup/cgroup.controllers || { echo "UserNS: $c controller needs to be delegated"; exit 1; }; done
    systemd-run --quiet --wait -p MemoryMax=64M true
    iptables-nft -t nat -A OUTPUT -m conntrack --ctstate NEW -j ACCEPT'
node
