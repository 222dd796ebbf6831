# Runs in a machine of tests/vm/lab: the check service, its timer, the line for logins and the metrics, with the package
# installed.
# shellcheck shell=bash disable=SC1091,SC2154 # the machine has it
. /share/vm/lib.sh
motd=/run/motd.d/edgeprep
textfiles=/var/lib/prometheus/node-exporter

dpkg -i /share/packages/edgeprep_*-1_amd64.deb
[ ! -e "$textfiles" ] || die "this machine has a node_exporter, so it does not show what happens without"
systemd-analyze verify --man=no edgeprep-check.service edgeprep-check.timer edgeprep-firstboot.service
systemd-analyze security --no-pager --threshold=30 edgeprep-check.service | tail -n 1
mkdir /etc/edgeprep
# K3s is not installed, so this host is not ready.
printf 'user = "edge"\nstacks = ["podman", "podman-kube", "kind", "k3s"]\n' >/etc/edgeprep/edgeprep.toml

# What only root, or only the user, can read and look at.
wait_user_manager
import_bb
as_user sh -euc 'cd; mkdir -p .config/containers/containers.conf.d .config/containers/systemd .config/systemd/user
    printf "[engine]\ncgroup_manager = \"cgroupfs\"\n" >.config/containers/containers.conf.d/own.conf
    printf "[Container]\nImage=localhost/bb:1\n" >.config/containers/systemd/own.container
    chmod 600 .config/containers/containers.conf.d/own.conf .config/containers/systemd/own.container
    chmod 700 . .config'
as_user podman run --quiet --detach localhost/bb:1 sleep 100000 >/dev/null
equal 'as installed'
[ "$code" = 1 ] || die "exit code $code of a host that was never fixed"
grep -q 'not ready' "$motd" || die 'no line for logins'
# What PAM shows who logs in on a console.
script --quiet --command 'login -f edge </dev/null' /dev/null >/tmp/login </dev/null || true
grep -q 'edgeprep: this host is not ready' /tmp/login || die "login shows: $(cat -v /tmp/login)"
say "login shows: $(grep edgeprep: /tmp/login)"
[ "$(stat -c %a /run/edgeprep/report.json)" = 644 ]
grep -q '^edgeprep_' /run/edgeprep/edgeprep.prom || die 'no metrics'

# Without capabilities it would see something else: each of the two is needed.
drop_in=/run/systemd/system/edgeprep-check.service.d
mkdir -p $drop_in
for without in CAP_DAC_READ_SEARCH CAP_SYS_PTRACE; do
    printf '[Service]\nCapabilityBoundingSet=~%s\n' "$without" >$drop_in/less.conf
    systemctl daemon-reload
    if (equal "without $without") >/tmp/less; then die "$without is not needed"; fi
    # It has to be the report that differs, not the service that failed.
    grep -q '^[<>]' /tmp/less || die "without $without: $(cat /tmp/less)"
    say "without $without: $(grep -c '^[<>]' /tmp/less) lines of the report differ"
done
rm -r $drop_in
systemctl daemon-reload

edgeprep fix --yes --user edge >/tmp/fix || true
equal 'after a fix'

mount --make-rprivate /
equal 'with a private /'
mount --make-rshared /
mount -o remount,hidepid=invisible /proc
equal 'with hidepid=invisible'
mount -o remount,hidepid=off /proc
mount -t tmpfs -o ro,noexec,nosuid,nodev tmpfs /var/tmp
equal 'with a read-only /var/tmp'
umount /var/tmp
mount --bind /home /home
mount -o remount,bind,ro,nosuid,nodev /home
equal 'with a read-only /home'
mount -o remount,bind,rw,suid,dev /home
umount -l /home
mv /dev/net/tun /dev/net/gone
equal 'without /dev/net/tun'
mv /dev/net/gone /dev/net/tun
mv /usr/lib/modules /usr/lib/modules.gone
equal 'without modules'
mv /usr/lib/modules.gone /usr/lib/modules
sysctl -qw user.max_user_namespaces=0
equal 'without user namespaces'
jq -e '.stacks[] | select(.name == "podman") | .verdict == "not-ready"' /run/edgeprep/report.json >/dev/null ||
    die 'podman is ready without user namespaces'
sysctl -qw user.max_user_namespaces=15000
systemctl stop user@1000.service
equal 'without a user manager'
systemctl start user@1000.service

# A site file that cannot be read: no report is left that says something else.
echo 'stacks = ["no-such"]' >/etc/edgeprep/edgeprep.toml
mkdir -p "$textfiles"
if systemctl start edgeprep-check.service; then die 'a bad site file passes'; fi
[ "$(systemctl show -p ExecMainStatus --value edgeprep-check.service)" = 2 ]
find /run/edgeprep "$textfiles" -type f | { if grep .; then die 'an old report is left'; fi; }
grep -q 'could not be checked' "$motd"
systemctl reset-failed edgeprep-check.service

# A host that has all it is asked for.
printf 'user = "edge"\nstacks = ["podman"]\n' >/etc/edgeprep/edgeprep.toml
run_service
[ "$code" = 0 ] || die "exit code $code for podman: $(edgeprep check --user edge || true)"
[ ! -e "$motd" ] || die 'the line for logins is still there'
cmp /run/edgeprep/edgeprep.prom "$textfiles/edgeprep.prom"
find "$textfiles" -mindepth 1 -printf '%f\n' | diff - <(echo edgeprep.prom)
say 'ready: no line for logins, metrics where node_exporter reads them'

# The timer, with times that can be waited for.
mkdir -p /run/systemd/system/edgeprep-check.timer.d
printf '[Timer]\nOnActiveSec=2s\nRandomizedDelaySec=0\nAccuracySec=1s\n' >/run/systemd/system/edgeprep-check.timer.d/soon.conf
systemctl daemon-reload
rm /run/edgeprep/report.json
systemctl enable --now --quiet edgeprep-check.timer
for ((i = 0; i < 60; i++)); do
    if [ -e /run/edgeprep/report.json ]; then break; fi
    sleep 1
done
[ -e /run/edgeprep/report.json ] || die 'the timer did not start it'
say 'the timer starts it'
