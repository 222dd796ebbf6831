# The service of each of the user's containers and pods in Quadlet files starts.
set -e
as_user systemctl --user daemon-reload
for file in /home/edge/.config/containers/systemd/*.container; do
    service=$(basename "$file" .container).service
    said=$(as_user systemctl --user start "$service" 2>&1) || {
        /usr/libexec/podman/quadlet -dryrun -user 2>&1 | grep -a converting || true
        as_user journalctl --user -n 20 --no-pager
        echo "$said"
        exit 1
    }
done
