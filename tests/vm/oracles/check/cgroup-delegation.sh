# Each limit of a container takes a controller.
options=(--cpuset-cpus 0 --memory 64m --cpus 0.5 --device-read-bps /dev/vda:1mb)
run true
