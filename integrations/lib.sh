# Sourced by the tests of the integrations: where the program is, and what they need to be installed.
# shellcheck shell=bash

project=$(cd "$(dirname "${BASH_SOURCE[0]}")/.." && pwd)

say() { printf '%s\n' "$*" >&2; }
die() { say "failed: $*"; exit 1; }

# Sets EDGEPREP to the static program: as the caller named it, else built here.
edgeprep_binary() {
    if [ -z "${EDGEPREP-}" ]; then
        "$project/packaging/build"
        EDGEPREP=$project/target/static/$(uname -m)/edgeprep
    fi
    EDGEPREP=$(realpath "$EDGEPREP")
    [ -x "$EDGEPREP" ] || die "$EDGEPREP is no program"
    export EDGEPREP
}

# Installs Debian's packages whose commands are not here: need_packages COMMAND:PACKAGE...
need_packages() {
    local pair missing=() sudo
    for pair; do
        command -v "${pair%%:*}" >/dev/null || missing+=("${pair#*:}")
    done
    if [ ${#missing[@]} -eq 0 ]; then return; fi
    sudo=$([ "$(id -u)" = 0 ] || echo sudo)
    $sudo apt-get update -qq
    $sudo env DEBIAN_FRONTEND=noninteractive apt-get -o DPkg::Lock::Timeout=300 install -y -qq \
        --no-install-recommends "${missing[@]}" </dev/null >/dev/null
}
