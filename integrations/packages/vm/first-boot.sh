# Runs in a machine of tests/vm/lab, at the first boot of the image that image.sh made, and once more at the second.
# shellcheck shell=bash disable=SC1091,SC2154 # the machine has it
. /share/vm/lib.sh
manager=/sys/fs/cgroup/user.slice/user-1000.slice/user@1000.service
when() { systemctl show -p "$2" --value "$1"; }

for ((i = 0; i < 240; i++)); do
    if [ -S /run/user/1000/bus ] && systemctl is-active --quiet user@1000.service; then break; fi
    sleep 0.5
done
systemctl is-active user@1000.service || die 'edge does not linger'
[ "$(systemctl list-jobs --no-legend | grep -c edgeprep-firstboot || true)" = 0 ]
if [ ! -e /var/lib/edgeprep/first-seen ]; then
    journalctl --boot --no-pager -u edgeprep-firstboot.service
    [ "$(when edgeprep-firstboot.service Result)" = success ]
    [ "$(when edgeprep-firstboot.service ConditionResult)" = yes ]
    done_at=$(when edgeprep-firstboot.service ActiveEnterTimestampMonotonic)
    for unit in systemd-logind.service user@1000.service systemd-user-sessions.service; do
        started=$(when $unit ExecMainStartTimestampMonotonic)
        [ "$done_at" -lt "$started" ] || die "$unit was started at $started, before $done_at"
    done
    say "done at $((done_at / 1000)) ms, user manager at $(($(when user@1000.service ExecMainStartTimestampMonotonic) / 1000)) ms"
else
    [ "$(when edgeprep-firstboot.service ConditionResult)" = no ] || die 'it ran again'
    say 'skipped at the second boot'
fi
[ -e /var/lib/edgeprep/firstboot ]
if journalctl --boot --no-pager -u init.scope -u edgeprep-firstboot.service | grep -i 'ordering cycle'; then die cycle; fi

# In effect, in this very boot: nobody restarted or told anything since.
for controller in cpu cpuset io memory pids; do
    grep -qw $controller "$manager/cgroup.controllers" || die "no $controller: $(cat "$manager/cgroup.controllers")"
done
# shellcheck disable=SC2016 # it is the unit that looks where it is
unit='cat /sys/fs/cgroup$(cut -d: -f3 /proc/self/cgroup)/cgroup.controllers'
as_user systemd-run --user --wait --pipe --quiet -p Delegate=yes sh -c "$unit" | grep -qw cpuset
import_bb
as_user podman run --rm --cpuset-cpus 0 localhost/bb:1 true
edgeprep check --format json -o /tmp/report.json || true
jq -r '.stacks[] | "\(.name) \(.verdict) \(.needs) \(.blockers | join(" "))"' /tmp/report.json
jq -r '.checks[] | select(.status == "fail") | .id as $id | .findings[] | select(.verdict != "met")
    | "\($id) \(.subject) \(.verdict) \(.remedy.fixable)"' /tmp/report.json
jq -e '.stacks[] | select(.name == "podman") | .verdict == "ready"' /tmp/report.json >/dev/null ||
    die 'podman is not ready after one boot'
# Nothing that a fix repairs is left, nor anything that waits for a boot.
jq -e '[.checks[].findings[]? | select((.verdict != "met" and .remedy.fixable == true) or .verdict == "pending")]
    == []' /tmp/report.json >/dev/null || die 'something is left that a fix repairs, or that waits for a boot'
touch /var/lib/edgeprep/first-seen
sync
