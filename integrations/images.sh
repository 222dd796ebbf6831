# Sourced by the tests of the image builders, after lib.sh: Debian 13 with the builders in it, for machines that have
# others or none, and a root to be repaired.
# shellcheck shell=bash

# shellcheck disable=SC2154 # lib.sh sets it
downloads=$project/target/integrations
tools=$downloads/tools
tool_packages=mkosi,debos,buildah,netavark,ostree,systemd-container,fakeroot,e2fsprogs,mmdebstrap,uidmap
root_packages=systemd,systemd-sysv,dbus,dbus-user-session,libpam-systemd,uidmap,podman,crun,catatonit
root_packages+=,netavark,aardvark-dns,passt,iproute2,kmod,procps,nftables,zstd,linux-image-cloud-amd64

# Debian 13 with the builders, in $tools. It is made anew where the list of packages is another.
make_tools() {
    need_packages mmdebstrap:mmdebstrap
    mkdir -p "$downloads"
    # Whoever works in there keeps it as it is.
    exec 8>"$tools.lock"
    flock --shared 8
    if [ "$(cat "$tools/packages" 2>/dev/null)" != "$tool_packages" ]; then
        flock 8
        say "making $tools"
        rm -rf "$tools"
        mmdebstrap --quiet --variant=apt --include="$tool_packages" --dpkgopt='path-exclude=/usr/share/locale/*' \
            --dpkgopt='path-exclude=/usr/share/doc/*' trixie "$tools" </dev/null
        printf '%s\n' "$tool_packages" >"$tools/packages"
        flock --shared 8
    fi
}

# Runs a command as root in $tools, in the current directory, with the project at its own path: not in a chroot, in
# which nobody can make a user namespace.
in_tools() {
    # shellcheck disable=SC2016 # they are for the shell in there
    unshare --mount --propagation slave bash -euc '
        tools=$1 project=$2 here=$PWD
        shift 2
        mount --bind "$tools" "$tools"
        mount --rbind /dev "$tools/dev"
        mount --rbind /sys "$tools/sys"
        mount -t proc proc "$tools/proc"
        mount -t tmpfs tmpfs "$tools/run"
        cp --remove-destination /etc/resolv.conf "$tools/etc/resolv.conf"
        mkdir -p "$tools$project"
        mount --rbind "$project" "$tools$project"
        cd "$tools"
        pivot_root . .
        umount -l .
        cd "$here"
        exec "$@"' in_tools "$tools" "$project" "$@"
}

# A root of Debian 13 with Podman, the user edge (1000) and a kernel, as a tar archive: $root_archive.
make_root_archive() {
    root_archive=$downloads/root.tar
    need_packages mmdebstrap:mmdebstrap
    if [ "$(cat "$root_archive.packages" 2>/dev/null)" = "$root_packages" ]; then return; fi
    say "making $root_archive"
    mkdir -p "$downloads"
    # shellcheck disable=SC2016 # $1 is for the hook's shell
    mmdebstrap --quiet --variant=minbase --include="$root_packages" --format=tar \
        --dpkgopt='path-exclude=/usr/share/man/*' --dpkgopt='path-exclude=/usr/share/locale/*' \
        --dpkgopt='path-exclude=/usr/share/doc/*' \
        --customize-hook='chroot "$1" useradd -m -s /bin/bash edge' \
        trixie "$root_archive" </dev/null
    printf '%s\n' "$root_packages" >"$root_archive.packages"
}

# What could differ between two roots: inventory ROOT. Inventories are compared line by line.
inventory() { python3 "$project/integrations/inventory.py" "$1" | LC_ALL=C sort; }
