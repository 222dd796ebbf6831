# Sourced by the tests of what cloud-init reads: its own validator, of two releases of Debian.
# shellcheck shell=bash

# shellcheck disable=SC2154 # ../lib.sh sets it
work=$project/target/integrations/cloud-init
sudo=$([ "$(id -u)" = 0 ] || echo sudo)
mkdir -p "$work"

# Unpacks cloud-init and what it needs. Installed, it would set up this machine.
cloud_init_root() {
    local root=$work/$1 packages=cloud-init,curl,coreutils,dash,dpkg,grep
    if [ "$(cat "$root/packages" 2>/dev/null)" != $packages ]; then
        $sudo rm -rf "$root"
        $sudo mmdebstrap --quiet --variant=extract --hook-dir=/usr/share/mmdebstrap/hooks/merged-usr \
            --include=$packages "$1" "$root" >"$work/$1.log" 2>&1 || die "$(cat "$work/$1.log")"
        # As update-ca-certificates does: python3-requests does not start without.
        cat "$root"/usr/share/ca-certificates/mozilla/*.crt |
            $sudo tee "$root/etc/ssl/certs/ca-certificates.crt" >/dev/null
        $sudo ln -sf dash "$root/usr/bin/sh"
        $sudo mkdir -p "$root/usr/local/bin" "$root/usr/local/sbin"
        echo $packages | $sudo tee "$root/packages" >/dev/null
    fi
}

in_root() { local suite=$1; shift; $sudo chroot "$work/$suite" "$@"; }

# Whether the cloud-init of release $1 takes the user-data $2; what it says is in $work/said.
takes() {
    $sudo cp "$2" "$work/$1/tmp/user-data"
    in_root "$1" python3 /usr/bin/cloud-init schema --config-file /tmp/user-data >"$work/said" 2>&1
}

# Sets version to that of the cloud-init of release $1.
cloud_init_version() {
    version=$(in_root "$1" python3 /usr/bin/cloud-init --version)
    version=${version##* }
}

# Boots the machine $1 of the lab with the remaining options, with its results in $work/$2.
machine() {
    local image=$1 name=$2
    shift 2
    rm -rf "${work:?}/$name"
    "$project/tests/vm/lab" run "$image" "$@" --out "$work/$name" --timeout 2400 || {
        tail -n 40 "$work/$name/log" "$work/$name"/*/log >&2 2>/dev/null || true
        die "the machine $name: see $work/$name"
    }
}

# Boots a machine that cloud-init shall set up of the files NAME=FILE, and has guest.sh look at it; the other arguments
# after $1, its name, are for guest.sh.
boot() {
    local name=$1 seed=$work/$1.seed put=$work/$1.put argument
    shift
    rm -rf "$seed" "$put"
    mkdir -p "$seed" "$put"
    printf 'instance-id: %s\nlocal-hostname: %s\n' "$name" "$name" >"$seed/meta-data"
    for argument; do
        case $argument in
            [a-z]*=*) cp "${argument#*=}" "$seed/${argument%%=*}" ;;
            *) printf '%s\n' "$argument" >>"$put/expect" ;;
        esac
    done
    cp "$EDGEPREP" "$put/edgeprep"
    say "booting $name"
    machine trixie-cloud "$name" --seed "$seed" --nic user,model=virtio-net-pci --put "$put/expect" \
        --put "$put/edgeprep" --script "$project/integrations/cloud-init/guest.sh"
    grep '^delegation was written' "$work/$name/log" >&2
}
