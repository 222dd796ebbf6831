# Runs in a fresh machine of tests/vm/lab.
#
#     cargo build --release --target x86_64-unknown-linux-musl
#     tests/vm/lab run trixie --put target/x86_64-unknown-linux-musl/release/edgeprep --script tests/vm/k3s-unit.sh
#
# Holds when: a stand-in for k3s, in a unit written by hand without delegation, does not find cpu and cpuset in its
# own cgroup, and fails until systemd starts it no more; after `edgeprep fix` the written unit has started it, and it
# has cpu, cpuset, memory and pids, has made cgroups with limits below its own, and has the environment as policy has
# it; a network that the host uses is refused before anything is written; a second fix has nothing to do; and undo
# stops it and leaves /etc and the home directories byte for byte as they were.
. /share/guest-lib.sh
set -euo pipefail
wait_user_manager
export COLUMNS=80
asked=(--stack k3s --user edge)
seen=/run/user/1000/k3s-seen
unit=k3s-rootless.service
dir=/home/edge/.config/systemd/user
policy=/etc/edgeprep/edgeprep.toml

tree() {
    cd / && find etc home var/lib/systemd/linger -xdev -printf '%p %y %m %U:%G %l\n' | sort
    find etc home -xdev -type f -exec sha256sum {} + | sort -k2
}
user_systemctl() { as_user systemctl --user "$@"; }
expect() {
    local wanted=$1 code=0
    shift
    "$@" || code=$?
    [ "$code" = "$wanted" ] || { echo "exit $code of $*, not $wanted"; exit 1; }
}
await() {
    for _ in $(seq 60); do
        if "$@" >/dev/null 2>&1; then return 0; fi
        sleep 1
    done
    echo "in vain: $*"
    return 1
}

cat >/usr/local/bin/k3s <<'END'
#!/bin/bash
# Stands in for k3s: what a server without root does with its cgroup before anything else.
set -eu
[ "${1:-}" = server ] || exit 0
seen=$XDG_RUNTIME_DIR/k3s-seen
cgroup=/sys/fs/cgroup$(cut -d: -f3 /proc/self/cgroup)
for controller in cpu cpuset memory pids; do
    grep -qw "$controller" "$cgroup/cgroup.controllers" || { echo "no $controller" >>"$seen.failed"; exit 1; }
done
mkdir -p "$cgroup/k3s_evac" "$cgroup/pod"
echo $$ >"$cgroup/k3s_evac/cgroup.procs"
echo '+cpu +cpuset +memory +pids' >"$cgroup/cgroup.subtree_control"
limit() { echo "$2" >"$cgroup/pod/$1"; echo "$1=$(cat "$cgroup/pod/$1")"; }
{
    echo "arguments=$*"
    limit memory.max 67108864
    limit cpu.max '50000 100000'
    limit cpuset.cpus 0
    limit pids.max 100
    env | grep '^K3S_' | sort
    command -v newuidmap newgidmap
} >"$seen.new"
mv "$seen.new" "$seen"
exec sleep infinity
END
chmod 755 /usr/local/bin/k3s
mkdir -p /etc/edgeprep
cat >"$policy" <<'END'
[k3s]
mtu = 1500
cidr = "10.64.0.0/16"
enable-ipv6 = false
port-driver = "slirp4netns"
disable-host-loopback = false
copy-up-dirs = ["/opt", "/srv"]
environment = { K3S_NODE_NAME = "edge-1", K3S_X = "a b%c" }
END

# By hand, without delegation, it fails until systemd has enough.
as_user mkdir -p "$dir"
tree >/var/tmp/before
cat >"$dir/$unit" <<'END'
[Unit]
StartLimitIntervalSec=600
StartLimitBurst=3
[Service]
ExecStart=/usr/local/bin/k3s server --rootless
Restart=always
RestartSec=0
END
chown 1000:1000 "$dir/$unit"
user_systemctl daemon-reload
user_systemctl start "$unit"
await user_systemctl is-failed "$unit"
grep -qx 'no cpu' "$seen.failed" || grep -qx 'no cpuset' "$seen.failed"
[ ! -e "$seen" ]
if user_systemctl start "$unit" 2>/dev/null; then echo 'systemd starts it again'; exit 1; fi
rm "$dir/$unit"
user_systemctl daemon-reload
tree | diff /var/tmp/before -

# A network of policy that the host uses.
ip link add edge0 type dummy
ip address add 10.64.9.1/24 dev edge0
ip link set edge0 up
expect 2 /share/edgeprep fix "${asked[@]}" --yes 2>/var/tmp/refused
grep "$policy:3: cidr = .* overlaps 10.64.9.0/24 on edge0" /var/tmp/refused
tree | diff /var/tmp/before -
ip link del edge0

expect 0 /share/edgeprep fix "${asked[@]}" --yes
await test -e "$seen"
diff - "$seen" <<'END'
arguments=server --rootless --snapshotter=overlayfs
memory.max=67108864
cpu.max=50000 100000
cpuset.cpus=0
pids.max=100
K3S_NODE_NAME=edge-1
K3S_ROOTLESS_CIDR=10.64.0.0/16
K3S_ROOTLESS_COPYUPDIRS=/opt,/srv
K3S_ROOTLESS_DISABLE_HOST_LOOPBACK=false
K3S_ROOTLESS_ENABLE_IPV6=false
K3S_ROOTLESS_MTU=1500
K3S_ROOTLESS_PORT_DRIVER=slirp4netns
K3S_X=a b%c
/usr/bin/newuidmap
/usr/bin/newgidmap
END
[ "$(user_systemctl is-enabled "$unit")" = enabled ]
expect 0 /share/edgeprep fix "${asked[@]}" --yes | grep 'Nothing to do.'
expect 0 /share/edgeprep check "${asked[@]}"

/share/edgeprep undo --yes
tree | diff /var/tmp/before -
if user_systemctl is-active "$unit"; then echo 'it still runs'; exit 1; fi
echo 'undone byte for byte'
