# What a container logs can be read by its user, and so can what happened to it.
set -e
as_user podman rm --force --ignore said >/dev/null
as_user podman run --detach --name said localhost/bb:1 sh -c 'echo from-the-container; sleep 1' >/dev/null
sleep 3
[ "$(as_user podman logs said 2>&1)" = from-the-container ]
as_user podman events --stream=false --since 1m --filter container=said | grep -q start
