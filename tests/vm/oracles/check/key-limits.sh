# Each container takes a key.
for i in 1 2 3 4 5; do as_user podman run -d --rm localhost/bb:1 sleep 100 || exit 1; done
