# Runs in a machine of tests/vm/lab, twice: the first boot fixes and runs what the stacks are for, the second
# sees what started by itself, and undoes.
#
#     cargo build --release --target x86_64-unknown-linux-musl
#     tests/vm/lab run trixie --put target/x86_64-unknown-linux-musl/release/edgeprep \
#         --script tests/vm/workloads.sh --script tests/vm/workloads.sh
#
# Holds when one `fix` for podman, podman-kube, k3d and kind makes these work, none of which did before: a pod of
# `podman kube play` serves port 80; a Quadlet .kube unit serves port 81, now and after a boot; the real docker
# client runs a container through the user's socket, and names resolve on the network for k3d; kind gets as
# far as pulling the image of its node. After undo /etc and the homes are as they were.
. /share/guest-lib.sh
set -euo pipefail
wait_user_manager
export COLUMNS=80
stacks=(--stack podman --stack podman-kube --stack k3d --stack kind --user edge)
kept=/var/tmp/edgeprep-workloads
units=/home/edge/.config/containers/systemd

tree() {
    # Podman, docker and kind write to their own.
    cd / && find etc home var/lib/systemd/linger -xdev \
        \( -path home/edge/.local -o -path home/edge/.docker -o -path home/edge/.kube \) -prune \
        -o -printf '%p %y %m %U:%G %l\n' | sort
    find etc home -xdev \( -path home/edge/.local -o -path home/edge/.docker -o -path home/edge/.kube \) -prune \
        -o -type f -exec sha256sum {} + | sort -k2
}
# A pod that serves its name on a port of the host.
pod() {
    cat <<YAML
apiVersion: v1
kind: Pod
metadata:
  name: $1
spec:
  containers:
  - name: httpd
    image: localhost/bb:1
    command: [/bin/sh, -c, 'echo $1 >/index.html; exec /bin/httpd -f -p 8080 -h /']
    ports:
    - containerPort: 8080
      hostPort: $2
YAML
}
serves() { # that $1 answers on port $2, after a while
    local tries
    for ((tries = 0; tries < 120; tries++)); do
        [ "$(busybox wget -qO- "http://127.0.0.1:$2/index.html" 2>/dev/null)" = "$1" ] && return
        sleep 0.5
    done
    echo "$1 does not answer on port $2"
    return 1
}
# The docker client as the user starts it: with what `edgeprep env` prints for k3d.
as_docker() {
    # shellcheck disable=SC2016 # the inner shell has it
    as_user sh -c 'eval "$(/share/edgeprep env --stack k3d)"; exec docker "$@"' docker "$@"
}
fails() { # that $2... fails, and says $1
    local wanted=$1 said
    shift
    said=$("$@" 2>&1) && { echo "works before: $*"; return 1; }
    grep -qE "$wanted" <<<"$said" || { echo "$said"; return 1; }
}
ends() { # that $2... ends with $1
    local wanted=$1 code=0
    shift
    "$@" || code=$?
    [ "$code" = "$wanted" ] || { echo "exit $code of $*"; exit 1; }
}

if [ ! -e "$kept/before" ]; then
    # No network card is there: what waits for a network must not wait for ever.
    ln -s /usr/lib/systemd/system/network-online.target /etc/systemd/system/multi-user.target.wants/
    systemctl daemon-reload
    systemctl start network-online.target
    mkdir -p "$kept"
    import_bb
    pod web 80 >/tmp/web.yaml
    chmod 644 /tmp/web.yaml
    as_user mkdir -p "$units"
    tree >"$kept/before"

    fails 'ermission denied|cannot expose privileged port' as_user podman run --rm -p 80:80 localhost/bb:1 true
    fails 'annot connect' as_docker ps

    ends 1 /share/edgeprep check "${stacks[@]}" --workload /tmp/web.yaml | tee /tmp/said
    grep -q 'web.yaml:12 hostPort' /tmp/said
    # k3d itself is what no configuration brings.
    ends 1 /share/edgeprep fix "${stacks[@]}" --yes
    ends 0 /share/edgeprep check --stack podman --stack podman-kube --stack kind --user edge \
        --workload /tmp/web.yaml

    as_user podman kube play /tmp/web.yaml
    serves web 80

    pod unit 81 >"$units/unit.yaml"
    printf '[Kube]\nYaml=unit.yaml\n\n[Install]\nWantedBy=default.target\n' >"$units/unit.kube"
    chown edge: "$units"/unit.*
    as_user systemctl --user daemon-reload
    as_user systemctl --user start unit.service
    serves unit 81

    as_docker version
    as_docker run --rm localhost/bb:1 echo 'from docker'
    as_user systemctl --user is-active k3d-network.service
    as_docker run --detach --name server --network k3d localhost/bb:1 sleep 10000
    as_docker run --rm --network k3d localhost/bb:1 nslookup server
    as_docker rm --force server

    # Plainly, and in a scope as its documentation has it for sessions.
    fails 'ulling image|ull image' as_user env KIND_EXPERIMENTAL_PROVIDER=podman kind create cluster
    fails 'ulling image|ull image' as_user systemd-run --user --scope --quiet -p Delegate=yes \
        env KIND_EXPERIMENTAL_PROVIDER=podman kind create cluster
    as_user podman pod rm --force web >/dev/null
    sync
else
    serves unit 81
    ends 0 /share/edgeprep check --stack podman --stack podman-kube --stack kind --user edge
    as_user systemctl --user stop unit.service
    rm "$units"/unit.*
    /share/edgeprep undo --yes
    tree | diff "$kept/before" -
    echo 'undone byte for byte'
fi
