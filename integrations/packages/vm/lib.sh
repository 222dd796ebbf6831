# Sourced by what runs in a machine of tests/vm/lab, as root.
# shellcheck shell=bash disable=SC1091 # the machine has it
. /share/guest-lib.sh
set -euo pipefail
export COLUMNS=80

say() { echo "== $*"; }
die() { echo "FAILED: $*"; exit 1; }

# A report without what differs from one second to the next, from PID 1's list of mounts to an own one, and by
# CAP_SYSLOG, which shows where the kernel put its modules.
settled() { # FILE
    jq -S 'del(.timestamp)
        | del(.checks[] | select(.id == "memory-size" or .id == "disk-space") | .findings[]? | .found, .evidence)
        | del(.checks[].findings[]?.evidence[]? | select(.path | test("^/proc/(1|self)/mountinfo$")))
        | (.checks[].findings[]?.evidence[]? | select(.path == "/proc/modules") | .text) |= sub(" 0x[0-9a-f]+.*"; "")' "$1"
}

# Runs the service; the exit code of its check is in $code.
run_service() {
    rm -f /run/edgeprep/report.json
    systemctl start edgeprep-check.service || die "the service failed: $(journalctl -u edgeprep-check.service -n 20)"
    code=$(jq .summary.exit_code /run/edgeprep/report.json)
}

# Fails where the service says anything else than `sudo edgeprep check` does in the state that $1 names.
equal() {
    local plain=0
    run_service
    SUDO_USER=edge SUDO_UID=1000 SUDO_GID=1000 edgeprep check --format json -o /tmp/plain.json || plain=$?
    [ "$plain" = "$code" ] || die "$1: $code by the service, $plain by hand"
    settled /tmp/plain.json >/tmp/plain
    settled /run/edgeprep/report.json >/tmp/service
    diff /tmp/plain /tmp/service || die "$1: the service sees something else"
    say "$1: exit code $code, the same report"
}
