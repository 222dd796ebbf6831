# shellcheck shell=bash
# Runs in a machine of tests/vm/lab that cloud-init has set up: shows that user-data did what it says.
#
# /share/expect says what is asked of it: STATUS (what cloud-init says of itself), STACKS (options of edgeprep check),
# CODE (its exit code), MANAGER (after: the user manager started when the files were there; before: it ran by then),
# ALSO (a command that has to succeed).
. /share/guest-lib.sh
set -euo pipefail
. /share/expect
cgroup=/sys/fs/cgroup/user.slice/user-1000.slice/user@1000.service
export COLUMNS=100

fail() { echo "failed: $*"; exit 1; }
# When a unit was started, or the file $2 written, in microseconds.
started() {
    systemctl show --property "$2" --timestamp=us+utc --value "$1" | { read -r _ day time _; date -u -d "$day $time" +%s%6N; }
}

cloud-init --version
status=$(timeout 900 cloud-init status --wait --format json || true)
echo "$status"
got=$(python3 -c 'import json, sys; s = json.load(sys.stdin); print(s.get("extended_status") or s["status"])' <<<"$status")
# Without pictures of keys and tables.
grep -v '|' /var/log/cloud-init-output.log
[ "$got" = "$STATUS" ] || fail "cloud-init says $got, not $STATUS"

program=$(command -v edgeprep || echo /share/edgeprep)
code=0
# shellcheck disable=SC2086 # several words
"$program" check --user edge $STACKS || code=$?
[ "$code" = "$CODE" ] || fail "edgeprep check: exit code $code, not $CODE"
systemctl is-active --quiet user@1000.service || fail 'no user manager runs'
for controller in cpu cpuset io memory pids; do
    case " $(cat "$cgroup/cgroup.controllers") " in
        *" $controller "*) ;;
        *) fail "no $controller in $(cat "$cgroup/cgroup.controllers")" ;;
    esac
done
written=$(stat --format %.6Y /etc/systemd/system/user@.service.d/90-rootless.conf | tr -d .)
manager=$(started user@1000.service InactiveExitTimestamp)
echo "delegation was written at $written, the user manager started at $manager: $((manager - written)) us later"
case $MANAGER in
    after) [ "$manager" -gt "$written" ] || fail 'the user manager started before the files were there' ;;
    # Had it been started anew, it would have been later.
    before) [ "$manager" -lt "$written" ] || fail 'the user manager did not run before' ;;
esac

import_bb
as_user podman run --rm --cpuset-cpus 0 --memory 64m localhost/bb:1 \
    sh -c 'cat /sys/fs/cgroup/cpuset.cpus /sys/fs/cgroup/memory.max' | tee /tmp/limits
[ "$(tr '\n' ' ' </tmp/limits)" = '0 67108864 ' ] || fail 'the limits are not in effect'
echo 'podman runs a container, and its limits hold'
eval "${ALSO-}" || fail "$ALSO"
