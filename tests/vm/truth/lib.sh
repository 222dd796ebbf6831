# Functions for the scripts of scenarios and for oracles; root runs them in the machine.

# A new user manager, as after a boot, and no process of Podman that keeps an older user namespace.
restart_user_manager() {
    as_user podman system migrate >/dev/null 2>&1 || true
    systemctl daemon-reload
    systemctl restart user@1000.service
    wait_user_manager
}

# Runs the arguments as k3s-rootless.service is run: in a delegated unit of the user manager.
as_unit() {
    as_user systemd-run --user --wait --pipe --quiet -p Delegate=yes -p TasksMax=infinity \
        --setenv PATH=/usr/local/bin:/usr/bin:/bin:/usr/sbin:/sbin --setenv XDG_RUNTIME_DIR=/run/user/1000 "$@"
}

# The unit of K3s with what edgeprep looks at, as K3s publishes it (k3s: k3s-rootless.service).
published_k3s_unit() {
    local dir=/home/edge/.config/systemd/user
    as_user mkdir -p "$dir"
    cat >"$dir/k3s-rootless.service" <<'END'
[Service]
Environment=PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin
ExecStart=/usr/local/bin/k3s server --rootless --snapshotter=fuse-overlayfs
Delegate=yes
Type=simple
KillMode=mixed

[Install]
WantedBy=default.target
END
    chown 1000:1000 "$dir/k3s-rootless.service"
}

# podman run of the small image.
run() { as_user podman run --rm "${options[@]}" localhost/bb:1 "$@"; }
options=()

# Answers at a port of the machine, on all addresses or on one.
listen() { busybox httpd -p "${2:+$2:}$1" -h /srv; }

# A node of a cluster in a container: systemd as PID 1, as the images of kind and minikube have it.
# Arguments for podman run in $node_options; after it started, $node_checks runs inside.
node_options='' node_checks=true
node() {
    as_user podman rm --force --ignore --time 0 node >/dev/null 2>&1 || true
    # shellcheck disable=SC2086 # options are words
    as_user podman run --detach --name node --privileged --tty --tmpfs /tmp --tmpfs /run --volume /var \
        --volume /lib/modules:/lib/modules:ro --volume /usr:/usr:ro --device /dev/fuse \
        --env container=podman --cgroupns=private $node_options localhost/node:1 \
        /usr/lib/systemd/systemd || return
    # One question that waits: on a busy machine each takes seconds.
    as_user podman exec node bash -c '
        for ((i = 0; i < 240; i++)); do systemctl is-active basic.target && exit; sleep 0.5; done; exit 1' ||
        { as_user podman logs node | tail -20; return 1; }
    as_user podman exec node bash -ec "$node_checks"
}

# A Quadlet file of the user with this name; its text is the input.
quadlet() {
    local dir=/home/edge/.config/containers/systemd
    install -d -o edge -g edge /home/edge/.config /home/edge/.config/containers "$dir"
    cat >"$dir/$1"
    chown edge: "$dir/$1"
}
