# Runs in a machine of tests/vm/lab: what `check --workload` says of files, against Podman.
#
#     cargo build --release --target x86_64-unknown-linux-musl
#     tests/vm/lab run trixie --put target/x86_64-unknown-linux-musl/release/edgeprep \
#         --script tests/vm/workload-truth.sh
#
# Holds when each workload that edgeprep calls ready is played, each that it calls not ready is not, for the check
# that the case names, and kind takes Docker where edgeprep says so.
. /share/guest-lib.sh
set -euo pipefail
wait_user_manager
import_bb
as_user podman run --rm localhost/bb:1 true
rm -f /tmp/failed

verdict() { # of the workload $1: its exit code, and the checks that fail
    local code=0
    /share/edgeprep check --format json --user edge --stack podman-kube --workload "$1" >/tmp/report || code=$?
    found=$(jq -r '[.checks[] | select(.level == "required" and .status == "fail") | .id] | join(" ")' /tmp/report)
    return "$code"
}
plays() {
    local code=0
    as_user timeout 60 podman kube play "$1" >/tmp/said 2>&1 || code=$?
    as_user podman kube down "$1" >/dev/null 2>&1 || true
    as_user podman pod rm --all --force >/dev/null 2>&1 || true
    return "$code"
}
case_of() { # name, what is expected ("ready" or the check that fails), YAML on standard input
    local name=$1 expected=$2 file=/tmp/$1.yaml code=0 says happens
    cat >"$file"
    chmod 644 "$file"
    verdict "$file" || code=$?
    case $code in 0) says=ready ;; *) says=${found:-exit $code} ;; esac
    if plays "$file"; then happens=plays; else happens="fails: $(tail -1 /tmp/said | cut -c1-110)"; fi
    echo "$name: edgeprep: $says; podman $happens"
    case $expected:$says:$happens in
        ready:ready:plays | "$says:$says:fails"*) ;;
        *) echo "  NOT AS EXPECTED: $expected"; cat /tmp/said; touch /tmp/failed ;;
    esac
}
pod() { # the rest of the specification on standard input, indented by two
    printf 'apiVersion: v1\nkind: Pod\nmetadata: {name: %s}\nspec:\n' "$1"
    cat
}
container='  containers:
  - name: c
    image: localhost/bb:1
    command: [sleep, "100"]'

pod plain <<<"$container" | case_of plain ready
pod port <<<"$container
    ports: [{containerPort: 80, hostPort: 8080}]" | case_of port ready
pod low <<<"$container
    ports: [{containerPort: 80, hostPort: 80}]" | case_of low unprivileged-ports
pod memory <<<"$container
    resources: {limits: {memory: 64Mi, cpu: 500m}}" | case_of memory ready
busybox httpd -p 8081 -h /srv
pod taken <<<"$container
    ports: [{containerPort: 80, hostPort: 8081}]" | case_of taken ports-free
busybox httpd -p 127.0.0.1:8083 -h /srv
pod beside <<<"$container
    ports: [{containerPort: 80, hostPort: 8083, hostIP: 127.0.0.2}]" | case_of beside ready
pod upon <<<"$container
    ports: [{containerPort: 80, hostPort: 8083, hostIP: 127.0.0.1}]" | case_of upon ports-free
{
    pod one <<<"$container
    ports: [{containerPort: 80, hostPort: 8082}]"
    echo ---
    pod two <<<"$container
    ports: [{containerPort: 80, hostPort: 8082}]"
} | case_of twice workload-manifests
volume() { # path and type
    printf '%s\n    volumeMounts: [{name: v, mountPath: /v}]\n  volumes:\n  - name: v\n    hostPath: {path: %s%s}\n' \
        "$container" "$1" "${2:+, type: $2}"
}
mkdir -p /srv/closed /srv/open/below
chmod 700 /srv/closed
pod absent < <(volume /srv/absent Directory) | case_of absent workload-paths
pod any < <(volume /srv/absent) | case_of any workload-paths
pod create < <(volume /srv/absent DirectoryOrCreate) | case_of create workload-paths
pod own < <(volume /home/edge/made DirectoryOrCreate) | case_of own ready
pod open < <(volume /srv/open Directory) | case_of open ready
# Only kubelet asks whether it is a file.
pod file < <(volume /srv/open File) | case_of file ready
pod socket < <(volume /srv/open Socket) | case_of socket workload-paths
pod below < <(volume /srv/closed/below Directory) | case_of below workload-paths
pod map <<<"$container
    envFrom: [{configMapRef: {name: none}}]" | case_of config-map workload-manifests
pod map <<<"$container
    envFrom: [{configMapRef: {name: none, optional: true}}]" | case_of optional ready
config_map() { # before what comes on standard input
    printf 'apiVersion: v1\nkind: ConfigMap\nmetadata: {name: site}\ndata: {a: b}\n---\n'
    cat
}
pod item <<<"$container
    volumeMounts: [{name: v, mountPath: /v}]
  volumes: [{name: v, configMap: {name: site, items: [{key: a, path: a}, {key: b, path: b}]}}]" |
    config_map | case_of item ready
pod key <<<"$container
    env: [{name: B, valueFrom: {configMapKeyRef: {name: site, key: b}}}]" |
    config_map | case_of key workload-manifests
config_map </dev/null | case_of config-map-alone workload-manifests
pod field <<<"$container
    env: [{name: N, valueFrom: {fieldRef: {fieldPath: metadata.name}}}]" | case_of field ready
pod field <<<"$container
    env: [{name: N, valueFrom: {fieldRef: {fieldPath: status.podIP}}}]" | case_of field-of-status workload-manifests
pod same <<<"$container
${container#*$'\n'}" | case_of same-name workload-manifests
pod probe <<<"$container
    livenessProbe: {grpc: {port: 1}}" | case_of probe ready
pod secret <<<"$container
    envFrom: [{secretRef: {name: none}}]" | case_of secret workload-manifests
printf word | as_user podman secret create kept - >/dev/null
pod claim <<<"$container
    volumeMounts: [{name: v, mountPath: /v}]
  volumes: [{name: v, persistentVolumeClaim: {claimName: made}}]" | case_of claim ready
pod volume <<<"$container
    volumeMounts: [{name: v, mountPath: /v}]
  volumes: [{name: v, nfs: {server: a, path: /b}}]" | case_of nfs workload-manifests
pod sysctl <<<"$container
  securityContext: {sysctls: [{name: net.ipv4.ip_unprivileged_port_start, value: \"0\"}]}" | case_of sysctl ready
pod sysctl <<<"$container
  securityContext: {sysctls: [{name: vm.swappiness, value: \"10\"}]}" | case_of sysctl-host workload-privileges
pod privileged <<<"$container
    securityContext: {privileged: true}" | case_of privileged ready
pod network <<<"  hostNetwork: true
$container" | case_of host-network ready
printf 'apiVersion: apps/v1\nkind: StatefulSet\nmetadata: {name: s}\nspec:\n  template:\n    metadata: {name: s}\n    spec:\n    %s\n' \
    "${container//$'\n'/$'\n'    }" | case_of stateful-set workload-manifests
printf 'apiVersion: batch/v1\nkind: Job\nmetadata: {name: j}\nspec:\n  template:\n    metadata: {name: j}\n    spec:\n      restartPolicy: Never\n    %s\n' \
    "${container//$'\n'/$'\n'    }" | case_of job ready

# A docker client is on this machine, and kind takes it unless it is told.
if as_user kind get clusters >/tmp/said 2>&1; then echo 'kind works without a word'; touch /tmp/failed; fi
/share/edgeprep check --user edge --stack kind --select container-engine -v >/tmp/said || true
grep -q 'only edge sees' /tmp/said || { cat /tmp/said; touch /tmp/failed; }
as_user env KIND_EXPERIMENTAL_PROVIDER=podman kind get clusters || touch /tmp/failed
[ ! -e /tmp/failed ]
