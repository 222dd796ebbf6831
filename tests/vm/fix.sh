# Runs in a machine of tests/vm/lab, twice: the first boot fixes, the second checks and undoes.
#
#     cargo build --release --target x86_64-unknown-linux-musl
#     tests/vm/lab run trixie --put target/x86_64-unknown-linux-musl/release/edgeprep \
#         --script tests/vm/fix.sh --script tests/vm/fix.sh
#
# Holds when: podman run --cpuset-cpus fails before and works after; a dry run changes nothing; a fix puts the controllers into effect in the running user manager
# and in its units; the manager and a service of the user's keep their PIDs; a second fix has nothing to do;
# all is the same after a reboot; and undo leaves /etc and the home directories byte for byte as they were.
. /share/guest-lib.sh
set -euo pipefail
wait_user_manager
export COLUMNS=80
stacks=(--stack podman --stack k3s --user edge)
kept=/var/tmp/edgeprep-fix
manager=/sys/fs/cgroup/user.slice/user-1000.slice/user@1000.service

tree() {
    # Podman writes to its own storage whenever it runs.
    cd / && find etc home var/lib/systemd/linger -xdev -path '*/containers/storage' -prune \
        -o -printf '%p %y %m %U:%G %l\n' | sort
    find etc home -xdev -path '*/containers/storage' -prune -o -type f -exec sha256sum {} + | sort -k2
}
all_five() { # of the controllers in $1
    for controller in cpu cpuset io memory pids; do
        case " $1 " in *" $controller "*) ;; *) echo "no $controller in: $1"; return 1 ;; esac
    done
}
expect() { # that fix and check end as they do where only k3s itself is missing
    local wanted=$1 code=0
    shift
    "$@" || code=$?
    [ "$code" = "$wanted" ] || { echo "exit $code of $*"; exit 1; }
}

if [ ! -e "$kept/before" ]; then
    mkdir -p "$kept"
    import_bb
    pinned() { as_user podman run --rm --cpuset-cpus 0 localhost/bb:1 true; }
    if pinned 2>/dev/null; then echo 'cpuset works before'; exit 1; fi
    as_user systemd-run --quiet --user --unit work sleep 100000
    tree >"$kept/before"
    expect 1 /share/edgeprep fix "${stacks[@]}" --dry-run >/dev/null
    tree | diff "$kept/before" -
    service=$(as_user systemctl --user show -p MainPID --value work)
    pid=$(systemctl show -p MainPID --value user@1000)
    expect 1 /share/edgeprep fix "${stacks[@]}" --yes
    all_five "$(cat "$manager/cgroup.controllers")"
    # shellcheck disable=SC2016 # it is the unit that looks where it is
    unit='cat /sys/fs/cgroup$(cut -d: -f3 /proc/self/cgroup)/cgroup.controllers'
    all_five "$(as_user systemd-run --user --wait --pipe --quiet -p Delegate=yes sh -c "$unit")"
    [ "$service" = "$(as_user systemctl --user show -p MainPID --value work)" ]
    [ "$pid" = "$(systemctl show -p MainPID --value user@1000)" ]
    pinned
    expect 1 /share/edgeprep fix "${stacks[@]}" --yes | grep 'Nothing to do.'
    sync
else
    expect 1 /share/edgeprep check "${stacks[@]}"
    all_five "$(cat "$manager/cgroup.controllers")"
    /share/edgeprep undo --yes
    tree | diff "$kept/before" -
    echo 'undone byte for byte'
fi
