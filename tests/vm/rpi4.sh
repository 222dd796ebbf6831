# Runs in the lab's Raspberry Pi 4, three times: a fix, a reboot and undo, and another reboot.
#
#     packaging/build aarch64
#     tests/vm/lab run arm64 --rpi4 --put target/static/aarch64/edgeprep \
#         --script tests/vm/rpi4.sh --script tests/vm/rpi4.sh --script tests/vm/rpi4.sh
#
# Holds when: detect says rpi4, its firmware and cmdline.txt; check says that the memory controller is off, and names
# cmdline.txt and the word that turns it on; a dry run changes nothing; a fix adds that word to cmdline.txt, leaves all else on the boot partition as
# it was, and keeps a copy beside it; all that is left then is a reboot, after which podman limits memory and what
# stands in for k3s runs; undo leaves the boot partition, /etc and the home directories byte for byte as they were; and
# after another reboot there is no memory controller again. With --no-cgroup-enable, which is Debian's kernel on the
# board: the word does not help, and after the reboot check says that this kernel does not know it.
. /share/guest-lib.sh
set -euo pipefail
export COLUMNS=80
asked=(--profile rpi4 --stack podman --stack k3s --user edge)
kept=/var/tmp/edgeprep-rpi4
word=cgroup_enable=memory
file=/boot/firmware/cmdline.txt
mkdir -p "$kept"
boot=$(cat "$kept/boot" 2>/dev/null || echo 1)
echo $((boot + 1)) >"$kept/boot"
echo "boot $boot, $(uname -r): $(cat /proc/cmdline)"

tree() {
    # Podman writes to its own storage whenever it runs.
    cd / && find boot/firmware etc home var/lib/systemd/linger -path '*/containers/storage' -prune \
        -o -printf '%p %y %m %U:%G %l\n' | sort
    find boot/firmware etc home -path '*/containers/storage' -prune -o -type f -exec sha256sum {} + | sort -k2
}
expect() { # that edgeprep $2... ends with exit code $1; its text, as one line, is in $said
    local wanted=$1 code=0
    shift
    /share/edgeprep "$@" >"$kept/said" || code=$?
    cat "$kept/said"
    said=$(tr -s '\n ' '  ' <"$kept/said")
    [ "$code" = "$wanted" ] || { echo "exit $code of $*, not $wanted"; exit 1; }
}
says() {
    case $said in *"$1"*) ;; *) echo "it does not say: $1"; exit 1 ;; esac
}
memory() { grep -qw memory /sys/fs/cgroup/cgroup.controllers; }
no_memory() { if memory; then echo 'there is a memory controller'; return 1; fi; }
limited() { as_user podman run --rm --memory 64m localhost/bb:1 cat /sys/fs/cgroup/memory.max; }

case $boot in
    1)
        cat >/usr/local/bin/k3s <<'END'
#!/bin/bash
# Stands in for k3s, which does not start without the memory controller.
[ "${1:-}" = server ] || exit 0
cgroup=/sys/fs/cgroup$(cut -d: -f3 /proc/self/cgroup)
grep -qw memory "$cgroup/cgroup.controllers" || { echo 'failed to find memory cgroup (v2)' >&2; exit 1; }
exec sleep infinity
END
        chmod 755 /usr/local/bin/k3s
        wait_user_manager
        import_bb
        no_memory
        if limited; then exit 1; fi
        tree >"$kept/before"
        cp "$file" "$kept/cmdline.txt"

        expect 0 detect
        says 'profile rpi4 ('
        says 'boots with the firmware of a Raspberry Pi'
        says "words in $file"
        expect 1 check --stack podman --stack k3s --user edge
        says 'k3s not ready'
        says "add $word to $file"
        expect 4 fix "${asked[@]}" --dry-run
        tree | diff "$kept/before" -

        expect 4 fix "${asked[@]}" --yes
        sed "1s/\$/ $word/" "$kept/cmdline.txt" | cmp - "$file"
        cmp "$kept/cmdline.txt" "$file.before-edgeprep"
        tree | grep ' \?boot/firmware' | grep -v '/cmdline\.txt' |
            diff <(grep ' \?boot/firmware' "$kept/before" | grep -v '/cmdline\.txt') -
        expect 4 check "${asked[@]}"
        tree >"$kept/fixed"
        ;;
    2)
        wait_user_manager
        tree | diff "$kept/fixed" -
        case $(cat /proc/cmdline) in *" cgroup_disable=memory "*" $word") ;; *) exit 1 ;; esac
        if [[ $(uname -r) = *-rpi-lab ]]; then
            memory
            expect 0 check "${asked[@]}"
            expect 0 fix "${asked[@]}" --yes
            says 'Nothing to do.'
            [ "$(limited)" = 67108864 ]
            as_user systemctl --user is-active k3s-rootless.service
        else
            no_memory
            expect 1 check "${asked[@]}"
            says 'this kernel does not know'
        fi
        expect 0 undo --yes
        tree | diff "$kept/before" -
        echo 'undone byte for byte'
        ;;
    *)
        case $(cat /proc/cmdline) in *"$word"*) exit 1 ;; esac
        no_memory
        tree | diff "$kept/before" -
        expect 1 check "${asked[@]}"
        says "add $word to $file"
        ;;
esac
