# An address of the host is reached from a container and from where K3s runs: one of a network that is in the
# way, else of one that is not.
if ip -o address | grep -q 10.88.5.5; then
    far=10.88.5.5
elif ip -o address | grep -q 10.41.5.5; then
    far=10.41.5.5
else
    far=10.99.5.5
    ip link add far type dummy
    ip address add $far/16 dev far
    ip link set far up
fi
echo far >/srv/index.html
listen 8080 $far
as_user podman run --rm --network podman localhost/bb:1 timeout 10 wget -O - http://$far:8080/ || exit
as_unit rootlesskit --net=slirp4netns --mtu=1500 --cidr=10.41.0.0/16 --copy-up=/etc --copy-up=/run \
    busybox timeout 10 busybox wget -O - http://$far:8080/
