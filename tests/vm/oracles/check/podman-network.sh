# Containers on a network of the user's find each other by name.
as_user podman network create n >/dev/null
as_user podman run -d --rm --name one --network n localhost/bb:1 sleep 100
options=(--network n)
run nslookup one
