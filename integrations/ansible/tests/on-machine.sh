# Sourced by test --vm: the role on a booted machine, over ssh.
# shellcheck shell=bash disable=SC2154

# As seconds since the start, as a machine without KVM is slow.
told() { say "$SECONDS s: $*"; }

boot_machine() {
    local dir=$scratch/machine port
    mkdir "$dir"
    ssh-keygen -q -t ed25519 -N '' -f "$dir/key"
    cp "$dir/key.pub" "$project/tests/vm/truth/k3s" "$scratch/"
    port=$(python3 -c 'import socket; s = socket.socket(); s.bind(("127.0.0.1", 0)); print(s.getsockname()[1])')
    "$project/tests/vm/lab" image trixie-ssh
    HOME=$real_home "$project/tests/vm/lab" machine trixie-ssh "$dir" --ssh "$port" --script "$here/tests/machine.sh" \
        --put "$scratch/key.pub" --put "$scratch/k3s" >"$dir/log" 2>&1 </dev/null &
    machine=$!
    cat >"$scratch/inventory" <<END
machine ansible_host=127.0.0.1 ansible_port=$port ansible_user=deploy ansible_ssh_private_key_file=$dir/key
[all:vars]
ansible_ssh_common_args='-o StrictHostKeyChecking=no -o UserKnownHostsFile=/dev/null -o LogLevel=ERROR'
ansible_timeout=120
ansible_python_interpreter=/usr/bin/python3
executable=$EDGEPREP
other_executable=$other
END
    local tries
    for ((tries = 0; tries < 120; tries++)); do
        kill -0 "$machine" 2>/dev/null || { cat "$dir/log" >&2; die "the machine has ended"; }
        if grep -q 'the machine is up' "$dir/console" 2>/dev/null; then told "the machine is up"; return; fi
        sleep 5
    done
    tail -n 20 "$dir/console" >&2
    die "the machine is not up"
}

on_a_machine() {
    local arch=x86_64
    SECONDS=0
    export ANSIBLE_PIPELINING=1
    export EDGEPREP_LAB_DIR=${EDGEPREP_LAB_DIR:-$real_home/.cache/edgeprep-lab}
    mkdir -p "$scratch/static/$arch"
    cp "$EDGEPREP" "$scratch/static/$arch/edgeprep"
    # The real one for arm64 where it is built.
    other=${EDGEPREP_AARCH64:-$project/target/static/aarch64/edgeprep}
    if [ ! -e "$other" ]; then
        other=$scratch/other
        head -c 4096 "$EDGEPREP" >"$other"
        printf '\xef\xbe' | dd of="$other" bs=1 seek=18 conv=notrunc status=none
    fi
    boot_machine
    local role=(edgeprep.host.prepare -e edgeprep_source=controller -e edgeprep_binary_dir="$scratch/static"
        -e '{"edgeprep_stacks": ["podman", "k3s"], "edgeprep_users": ["edge"]}' -e edgeprep_reboot_timeout=1500)

    play ok "${role[@]}" --check -e edgeprep_reboot_ok=true
    printed 'edgeprep is not on this host yet (controller: '
    printed 'prepares the host for podman, k3s of edge; the host is rebooted where that is needed'
    told "--check on a host without edgeprep says what it would do"

    play ok "$here/tests/machine.yml"
    told "no program, one of another architecture, no root: each has its message; K3s is not ready"

    play ok "${role[@]}" --diff -e edgeprep_reboot_ok=true -e edgeprep_fail_on=pending
    printed '+Delegate=cpu cpuset io memory pids'
    printed 'edgeprep: a reboot is needed until all is in effect'
    printed 'RUNNING HANDLER [edgeprep.host.prepare : Reboot for edgeprep]'
    told "the role has installed edgeprep, fixed, rebooted, and found the host ready"

    # sshd is there before the user manager has started what it starts at boot.
    local cgroup=/sys/fs/cgroup/user.slice/user-1000.slice/user@1000.service/app.slice/k3s-rootless.service
    ansible machine -i "$scratch/inventory" -m ansible.builtin.wait_for -a "path=$cgroup timeout=600" \
        >"$scratch/out" || { cat "$scratch/out" >&2; die "K3s does not start at boot"; }
    play ok "${role[@]}" --diff -e edgeprep_reboot_ok=true -e edgeprep_fail_on=pending
    printed 'changed=0 '
    told "a second run has changed nothing, and not rebooted"
    echo "ok ansible: ansible-core $core on Debian 13 over ssh: the role prepare from a fresh host to a ready one," \
        "with the reboot that it takes; a second run changes nothing"
}
