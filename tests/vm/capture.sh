# Runs in a lab machine: captures it for tests/fixtures/sysfs, and proves that a check of the capture
# says what a check of the machine says. With a file /share/no-manager: without a user manager.
. /share/guest-lib.sh
set -eu
stacks=podman,podman-kube,k3s,k3d,kind,minikube,usernetes
if [ ! -e /share/no-manager ]; then
    wait_user_manager
    as_user podman info >/dev/null 2>&1 || true
fi
check() { /share/edgeprep check --format json --user edge --stack "$stacks" "$@" || [ $? -ne 2 ]; }
check >/share/out/live.json
/share/edgeprep capture --output /share/out/capture.tar --user edge --keep-identity
check --capture /share/out/capture.tar >/share/out/capture.json
# The mode, and what changes from one moment to the next, are all that may differ.
normal() { sed -e 's/"mode": "[a-z]*"/"mode"/' -e 's/[0-9.]* [KMGT]iB\( and [0-9]* inodes\)\? free/free/' "$1"; }
normal /share/out/live.json >/tmp/live
normal /share/out/capture.json >/tmp/capture
diff -u /tmp/live /tmp/capture
/share/edgeprep capture --output /share/out/anonymous.tar --user edge
