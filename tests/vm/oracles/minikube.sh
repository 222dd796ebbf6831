# minikube is not packaged: its network, and a node with the options that it gives Podman
# (minikube: pkg/drivers/kic/oci/oci.go, CreateContainerNode; network_create.go).
set -e
as_user podman network exists minikube || as_user podman network create minikube --subnet 192.168.49.0/24 >/dev/null
node_options='--security-opt seccomp=unconfined --network minikube --ip 192.168.49.2 --volume minikube:/srv
    --memory=256m --publish 127.0.0.1::8443 --publish 127.0.0.1::22'
# shellcheck disable=SC2034 # node reads it
node_checks='for c in cpu memory pids; do grep -qw $c /sys/fs/cgroup/cgroup.controllers || { echo "UserNS: $c controller needs to be delegated"; exit 1; }; done
    systemd-run --quiet --wait -p MemoryMax=64M true
    iptables-nft -t nat -A OUTPUT -m conntrack --ctstate NEW -j ACCEPT'
node
