# Runs in a machine of tests/vm/lab: the commands of docs/guides, as a new user types them.
#
#     cargo build --release --target x86_64-unknown-linux-musl
#     tests/vm/lab run trixie --put target/x86_64-unknown-linux-musl/release/edgeprep --put docs/guides \
#         --script tests/vm/guides.sh
#
# Each block that is fenced as `sh` is run, in order, as the user edge, or as root where it begins with sudo. Those
# fenced as `sh network` need what is not here, and are passed over. A check may find something, and a fix may leave
# the program of the stack where Debian has none; any other command has to succeed.
. /share/guest-lib.sh
set -euo pipefail
wait_user_manager
# No network card is there: units of Quadlet must not wait for ever.
ln -s /usr/lib/systemd/system/network-online.target /etc/systemd/system/multi-user.target.wants/
systemctl daemon-reload
systemctl start network-online.target
install -m 755 /share/edgeprep /usr/local/bin/edgeprep
import_bb
as_user podman tag localhost/bb:1 docker.io/library/busybox:latest
cp /usr/bin/busybox /usr/local/bin/ && ln -sf busybox /usr/local/bin/wget
cat >/tmp/prelude <<'BASH'
set -e
export EDGEPREP_YES=1 COLUMNS=80
cd ~
sudo() { "$@"; }
edgeprep() {
    local code=0
    command edgeprep "$@" || code=$?
    case $1:$code in *:0 | check:[134] | "fix:$FIX_LEAVES") ;; *) return "$code" ;; esac
}
BASH

blocks() { # of the guide $1: one file each, in /tmp/blocks
    rm -rf /tmp/blocks
    mkdir /tmp/blocks
    awk -v dir=/tmp/blocks '
        /^ *```sh$/ { inside = 1; indent = index($0, "`") - 1; name = sprintf("%s/%02d", dir, ++n); next }
        inside && /^ *```$/ { inside = 0; next }
        inside { print substr($0, indent + 1) >name }' "$1"
    chmod -R a+rX /tmp/blocks
}

for guide in podman podman-kube kind k3d minikube k3s usernetes; do
    echo "===== $guide"
    case $guide in k3d | minikube | k3s) export FIX_LEAVES=1 ;; *) export FIX_LEAVES=0 ;; esac
    blocks "/share/guides/$guide.md"
    [ -n "$(ls /tmp/blocks)" ]
    for block in /tmp/blocks/*; do
        sed 's/^/$ /' "$block"
        # shellcheck disable=SC2016 # the inner shell has it
        if grep -q '^sudo ' "$block"; then
            env HOME=/root bash -c '. /tmp/prelude; . "$0"' "$block"
        else
            as_user env PATH="$PATH" FIX_LEAVES="$FIX_LEAVES" bash -c '. /tmp/prelude; . "$0"' "$block"
        fi
    done
done
echo 'all guides'
