# k3d's node, made through podman.socket; K3s in it looks for its controllers.
set -e
as_unit k3d cluster create
