# Through pasta and slirp4netns, which ping with datagram sockets of the host.
ip link add dummy0 type dummy 2>/dev/null || true
ip link add dummy1 type dummy 2>/dev/null || true
ip address replace 10.98.0.1/24 dev dummy0
ip address replace 10.97.0.1/24 dev dummy1
ip link set dummy0 up
ip link set dummy1 up
ip route replace default via 10.98.0.254
# A copy, because Debian 12 gives the file a capability that containers do not have.
cp /usr/bin/ping /srv/ping
as_user podman run --rm -v /usr:/usr:ro -v /srv/ping:/ping:ro localhost/node:1 /ping -c 1 -W 5 10.97.0.1
