# A Quadlet .kube unit starts two pods that find each other by name.
set -e
unit=/home/edge/.config/containers/systemd
install -d -o edge -g edge /home/edge/.config /home/edge/.config/containers "$unit"
cat >"$unit/pods.kube" <<'UNIT'
[Kube]
Yaml=pods.yaml
UNIT
for name in one two; do
    cat <<YAML
---
apiVersion: v1
kind: Pod
metadata: {name: $name}
spec:
  containers:
  - {name: c, image: "localhost/bb:1", command: [/bin/sleep, "1000"]}
YAML
done >"$unit/pods.yaml"
chown edge: "$unit"/pods.*
as_user systemctl --user daemon-reload
said=$(as_user systemctl --user start pods.service 2>&1) || {
    as_user journalctl --user -n 20 --no-pager
    as_user podman kube play "$unit/pods.yaml" || true
    echo "$said"
    exit 1
}
as_user podman exec one-c nslookup two
as_user systemctl --user stop pods.service
