# Runs in a machine of tests/vm/lab:
#
#     cargo build --release --target x86_64-unknown-linux-musl
#     tests/vm/lab run trixie --put target/x86_64-unknown-linux-musl/release/edgeprep --script tests/vm/probe.sh
#
# Holds when: on a fresh machine every probe agrees with the files, for root and for the user; each thing that
# is broken is refused, and the check that it belongs to fails; where files and kernel differ the probe wins,
# in both directions; a helper that hangs is not waited for; edgeprep can be killed; and after each run there is no process, mount,
# cgroup, interface or file more than before.
. /share/guest-lib.sh
set -euo pipefail
wait_user_manager
export COLUMNS=80
edgeprep=/share/edgeprep
kept=/dev/shm/kept
mkdir -p "$kept"
fail() { echo "FAILED: $*"; cat "$kept/now"; exit 1; }

traces() {
    # Kernel threads come and go, and so do those who look and, with the module of tun, those of udev.
    ps -e -o ppid=,user=,args= | awk '$1 != 2 && !/ (ps|awk|sort|sed) |udev-worker/' | sed 's/^ *//' | sort
    sort /proc/mounts
    find /sys/fs/cgroup -type d | sort
    find /home /tmp /run /etc /var/tmp -xdev -not -path '/run/log/*' -not -path '/run/udev/*' | sort
    ls /sys/class/net
    ls /proc/sys/net/ipv4/conf
}

# Probes with $as in front, and wants all lines that match these patterns in the report. Nothing may be left.
as=()
probe() { # NAME PATTERN...
    local name=$1 started pattern
    shift
    traces >"$kept/before"
    started=$SECONDS
    "${as[@]}" "$edgeprep" check --probe --user edge --stack podman --stack k3s -v >"$kept/now" || true
    traces >"$kept/after"
    # What is broken into lines in a column of its own is one line again.
    sed -i ':a;N;$!ba;s/\n \{20,\}/ /g' "$kept/now"
    echo "--- $name, $((SECONDS - started)) s"
    sed -n '/^Tried/,/^$/p' "$kept/now"
    # A service of the machine may well end by itself in the meantime.
    if diff "$kept/before" "$kept/after" | grep '^>'; then fail "$name: traces"; fi
    for pattern in "$@"; do
        grep -qE -- "$pattern" "$kept/now" || fail "$name: no $pattern"
    done
}
refused() { # more than what matches this
    ! grep '^x ' <(sed -n '/^Tried/,$p' "$kept/now") | grep -vE "$1" || fail "more is refused than $1"
}

# Fresh: what is refused is what the files say is missing.
probe fresh '  podman  ready' '^\+ id-map +/usr/bin/newuidmap: wrote a map of 65537' '^\+ overlay-mount ' \
    '^\+ tun-open ' '^\+ fuse-open ' '^x port-bind +tcp/80' '^\+ port-bind +tcp/6443: bound' \
    '^x cgroup-make +cpuset' '^\+ cgroup-make +user@1000.service'
refused ' cpuset:| io:|tcp/80 '
if grep 'say otherwise' "$kept/now"; then fail 'a contradiction on a fresh machine'; fi
"$edgeprep" check --user edge --stack podman --stack k3s --format json >"$kept/files" || true
"$edgeprep" check --probe --user edge --stack podman --stack k3s --format json >"$kept/tried" || true
cp "$kept"/files "$kept"/tried /share/out/
diff <(grep '"status"' "$kept/files") <(grep '"status"' "$kept/tried")
as=(as_user)
probe as-the-user '  podman  ready' '^\+ id-map +/usr/bin/newuidmap: wrote a map of 65537' '^\+ tun-open '
refused ' cpuset:| io:|tcp/80 '
as=(as_user setpriv --no-new-privs)
probe no-new-privileges '  podman  ready' '^\? id-map +newuidmap: this process can gain no privileges'
as=()

# Broken, and the files say so, too.
chmod 755 /usr/bin/newuidmap
probe no-setuid '  podman  not ready' '^x id-map +/usr/bin/newuidmap: newuidmap: write to uid_map failed' \
    '^x idmap-helpers' '^\? overlay-mount'
chmod 4755 /usr/bin/newuidmap
cp /etc/subuid "$kept/subuid"
: >/etc/subuid
probe no-subuid '  podman  not ready' '^\+ id-map +/usr/bin/newuidmap: wrote a map of 1 IDs' '^x subid-range'
cat "$kept/subuid" >/etc/subuid
limit=$(cat /proc/sys/user/max_user_namespaces)
echo 0 >/proc/sys/user/max_user_namespaces
probe no-user-namespaces '  podman  not ready' '^x id-map +user namespace: making a user namespace: No space' \
    '^x userns-limit' '^\? tun-open'
echo "$limit" >/proc/sys/user/max_user_namespaces
chmod 600 /dev/net/tun
probe no-tun '  podman  not ready' '^x tun-open +/dev/net/tun: opening it: Permission' '^x tun-device'

# The files say otherwise. An ACL, as logind gives one to who sits at the machine, is in no mode.
acl() { # PATH: for UID 1000, read and write
    # setxattr(2) is 188 on x86_64.
    perl -e '($path, $name) = ($ARGV[0], "system.posix_acl_access");
        $acl = pack("V(vvV)5", 2, 1,6,-1, 2,6,1000, 4,0,-1, 16,6,-1, 32,0,-1);
        syscall(188, $path, $name, $acl, length $acl, 0) == 0 or die $!' "$1"
}
acl /dev/net/tun
grep '  podman  not ready' <("$edgeprep" check --user edge --stack podman -q) || fail 'the files know of the ACL'
probe acl '  podman  ready' '^\+ tun-open .*opened' 'otherwise: tun-device' '^\+ tun-device .*though the files say'
rm /dev/net/tun
mknod -m 666 /dev/net/tun c 10 200
cp -a /usr/bin/newuidmap "$kept/newuidmap"
for program in false true; do
    install -m 4755 "/usr/bin/$program" /usr/bin/newuidmap
    grep '  podman  ready' <("$edgeprep" check --user edge --stack podman -q) || fail 'the files know'
    probe "another-newuidmap-$program" '  podman  not ready' '^x id-map .*\(the files say otherwise: idmap-helpers\)' \
        '^x idmap-helpers'
done
cp -a "$kept/newuidmap" /usr/bin/newuidmap
perl -MSocket -e 'socket(S, PF_INET, SOCK_STREAM, 0); bind(S, sockaddr_in(6443, INADDR_ANY)) or die $!; sleep 1000' &
sleep 1
probe bound-not-listening '  k3s     not ready' '^x port-bind +tcp/6443: binding it: Address' '^x ports-free'
kill %1
wait || true

# A helper that hangs, and what it has started.
printf '#!/bin/sh\nsleep 1000\n' >/usr/local/bin/newuidmap
chmod 755 /usr/local/bin/newuidmap
probe hangs '^\? id-map +newuidmap: it did not end in time' '^\+ fuse-open'
rm /usr/local/bin/newuidmap

# Killed at whatever it was doing.
traces >"$kept/before"
for ((at = 0; at < 60; at++)); do
    "$edgeprep" check --probe --user edge --stack podman --stack k3s >/dev/null &
    sleep "0.$(printf %03d $((at * 5)))"
    kill -KILL $! 2>/dev/null || true
    wait $! 2>/dev/null || true
done
sleep 2
traces >"$kept/after"
if diff "$kept/before" "$kept/after" | grep '^>'; then fail 'killed: traces'; fi
echo '--- killed'

# From root alone can be seen what happens without a user manager.
loginctl disable-linger edge
systemctl stop user@1000.service
probe no-user-manager '  k3s +not ready: 5 required' '^x cgroup-make +user@1000.service: it has no cgroup' '^x user-manager'
dmesg | grep -i overlay || true
echo 'all probes came out as they should'
