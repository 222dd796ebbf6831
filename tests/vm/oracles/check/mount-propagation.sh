# What is mounted on the host later is seen in a container.
mkdir -p /srv/in
as_user podman run -d --rm --name watcher --volume /srv:/srv:rslave localhost/bb:1 sleep 100
mount -t tmpfs none /srv/in
touch /srv/in/seen
as_user podman exec watcher ls /srv/in/seen
