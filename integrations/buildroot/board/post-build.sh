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
# required cannot be in files, and says what; EDGEPREP_ACCEPT_LEFT=1 in the environment is for a board where that is
# done elsewhere, such as words for the kernel in rpi-firmware's cmdline.txt.
code=0
"$HOST_DIR/bin/edgeprep" render --format dir --subids file --output "$overlay" "$@" || code=$?
if [ "$code" = 1 ] && [ "${EDGEPREP_ACCEPT_LEFT-}" = 1 ]; then code=0; fi
[ "$code" = 0 ] || exit "$code"
cp -a "$overlay/." "$target/"
