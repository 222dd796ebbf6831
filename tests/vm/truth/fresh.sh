# A machine as it is installed, on which the user edge lingers and has images.
set -e
wait_user_manager || exit 1
# Units of Quadlet wait for it, and nothing else on a machine without a network card does.
ln -s /usr/lib/systemd/system/network-online.target /etc/systemd/system/multi-user.target.wants/
systemctl daemon-reload
systemctl start network-online.target
import_bb || echo 'no images on this machine'
# Packed once: an image whose files are other users', as those of most images are, and the skeleton of a
# cluster node that starts systemd from the machine's own /usr.
lab=/var/lib/edgeprep-lab
context=$(mktemp -d)
install -D /usr/bin/busybox "$context/usr/bin/busybox"
chmod 755 "$context"
mkdir "$context/bin"
busybox --install -s "$context/bin"
mkdir -p "$context/srv"
echo mine >"$context/srv/mine"
chown 1000:1000 "$context/srv/mine"
echo nobody >"$context/srv/nobody"
chown 65534:65534 "$context/srv/nobody"
tar -C "$context" -cf "$lab/owners.tar" .
rm -rf "$context"
context=$(mktemp -d)
chmod 755 "$context"
mkdir -p "$context"/{usr,etc/systemd/system,var,root,run,tmp,proc,sys,dev}
for name in bin sbin lib lib64; do ln -s "usr/$name" "$context/$name"; done
grep -E '^(root|systemd|nobody|messagebus)' /etc/passwd >"$context/etc/passwd"
grep -E '^(root|systemd|nogroup|messagebus)' /etc/group >"$context/etc/group"
: >"$context/etc/machine-id"
ln -s /usr/lib/systemd/system/basic.target "$context/etc/systemd/system/default.target"
for unit in systemd-firstboot systemd-udevd systemd-udev-trigger systemd-modules-load systemd-sysusers \
    systemd-pcrphase systemd-pcrphase-sysinit systemd-pcrextend kmod-static-nodes apparmor fstrim; do
    ln -s /dev/null "$context/etc/systemd/system/$unit.service"
done
tar -C "$context" -cf "$lab/node.tar" .
rm -rf "$context"
chmod -R a+rX "$lab"
as_user podman import --quiet "$lab/node.tar" localhost/node:1 || true
# No process of Podman's is left that holds a user namespace.
as_user podman system migrate || true
rm -rf /var/tmp/* /tmp/*
sync
