#!/bin/sh
# For BR2_ROOTFS_POST_BUILD_SCRIPT. Arguments: the target directory, then those of BR2_ROOTFS_POST_BUILD_SCRIPT_ARGS,
# which are options of "edgeprep render", such as: --user edge --uid 1000 --stack podman --profile rpi4
#
# Not "edgeprep fix --root": Buildroot makes the users later, from the users tables, and gives no user subordinate IDs.
# Buildroot gives all files to root when it makes the image, which is what all of these are to belong to.
set -eu

target=$1
shift
overlay=$BUILD_DIR/edgeprep-overlay
rm -rf "$overlay"
# The subordinate IDs as whole files, since useradd(8) does not make the users. It ends with 1 where something that is
# required cannot be in files, and says what.
"$HOST_DIR/bin/edgeprep" render --format dir --subids file --output "$overlay" "$@"
cp -a "$overlay/." "$target/"
