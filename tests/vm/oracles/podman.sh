# A user pulls an image and runs a container of it, which has a network and other users' files.
set -e
as_user podman import --quiet /var/lib/edgeprep-lab/owners.tar localhost/owners:1
as_user podman run --rm --user 65534 localhost/owners:1 sh -c '
    cat /srv/nobody && ip -o link | grep -v "lo:" && [ "$(id -u)" = 65534 ]'
