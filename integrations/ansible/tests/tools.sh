# Sourced by test and bench: Ansible, and the collection as users install it.
# shellcheck shell=bash disable=SC2034,SC2154

# shellcheck source=integrations/lib.sh
. "$here/../lib.sh"
core=${ANSIBLE_CORE:-2.19.14}
lint=26.10.1
work=$project/target/integrations/ansible
venv=$work/venv-$core
collection=$here/ansible_collections/edgeprep/host
real_home=$HOME

scratch='' machine=''
# shellcheck disable=SC2317 # the trap calls it
clean_up() {
    if [ -n "$machine" ]; then kill "$machine" 2>/dev/null || true; wait "$machine" 2>/dev/null || true; fi
    if [ -n "$scratch" ]; then rm -rf "$scratch"; fi
}
set_up() {
    trap clean_up EXIT
    mkdir -p "$work"
    scratch=$(mktemp -d "$work/run.XXXXXX")
}

# A Python that this Ansible runs with.
controller_python() {
    local python
    for python in python3 python3.13 python3.12 python3.11; do
        if "$python" -c 'import sys, venv, ensurepip; sys.exit(not (3, 11) <= sys.version_info[:2] <= (3, 13))' \
            2>/dev/null; then echo "$python"; return; fi
    done
    die "ansible-core $core takes Python 3.11, 3.12 or 3.13, with venv"
}

# With anything in $1, ansible-lint, too.
install_ansible() {
    local with_lint=${1-}
    if [ ! -e "$venv/done" ]; then
        say "installing ansible-core $core"
        rm -rf "$venv"
        "$(controller_python)" -m venv "$venv"
        "$venv/bin/pip" install -q --disable-pip-version-check "ansible-core==$core"
        touch "$venv/done"
    fi
    if [ -n "$with_lint" ] && [ ! -e "$venv/done-lint" ]; then
        "$venv/bin/pip" install -q --disable-pip-version-check "ansible-core==$core" "ansible-lint==$lint"
        touch "$venv/done-lint"
    fi
    # Not a shim of pyenv, which is there and does not run.
    rm -rf "$work/python"
    mkdir "$work/python"
    local minor python
    for minor in 8 9 10 11 12 13; do
        for python in "$(command -v "python3.$minor" || true)" ~/.pyenv/versions/3."$minor".*/bin/python3."$minor"; do
            if [ -x "$python" ] && "$python" -c '' 2>/dev/null; then
                python=$("$python" -c 'import sys; print(sys.executable)')
                ln -sf "$python" "$work/python/python3.$minor"
            fi
        done
    done
    export PATH=$venv/bin:$work/python:/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin
    # Nothing of the caller's configuration, and no inventory but ours.
    printf '[defaults]\n' >"$scratch/ansible.cfg"
    export HOME=$work/home ANSIBLE_CONFIG=$scratch/ansible.cfg ANSIBLE_NOCOLOR=1 NO_COLOR=1 ANSIBLE_LOCALHOST_WARNING=0
    export ANSIBLE_COLLECTIONS_PATH=$scratch/installed ANSIBLE_RETRY_FILES_ENABLED=0 LC_ALL=C.UTF-8
    mkdir -p "$HOME"
}

# What users install: built, and installed from the file.
install_collection() {
    ansible-galaxy collection build --force --output-path "$scratch" "$collection" >/dev/null
    ansible-galaxy collection install --force -p "$scratch/installed" "$scratch"/edgeprep-host-*.tar.gz >/dev/null
}
