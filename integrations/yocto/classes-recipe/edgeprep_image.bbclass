# For image recipes: writes what the rootless containers of a user need.
#
#   inherit edgeprep_image
#   EDGEPREP_USER = "edge"
#   EDGEPREP_STACKS = "podman"
#   EDGEPREP_PROFILE = "rpi4"
#
# Not "edgeprep fix --root": pseudo, which plays root here, does not see what a static program does, and files made by
# it would belong to whoever builds. So the program only writes an archive that says who owns what, and tar, which
# pseudo sees, unpacks it.

EDGEPREP_USER ?= ""
# As in the recipe that creates the user: useradd, or useradd-staticids.
EDGEPREP_UID ?= "1000"
EDGEPREP_STACKS ?= "podman"
EDGEPREP_PROFILE ?= "generic"
# vendor: below /usr/lib, and /etc stays the machine's. admin: below ${sysconfdir}.
EDGEPREP_LAYER ?= "vendor"
# file: subuid and subgid for this user alone. none: whoever creates the user gives them.
EDGEPREP_SUBIDS ?= "file"
# 1: what is required and cannot be in files is done elsewhere, such as words for the kernel in cmdline.txt.
EDGEPREP_ACCEPT_LEFT ?= "0"

do_rootfs[depends] += "edgeprep-native:do_populate_sysroot"

ROOTFS_POSTPROCESS_COMMAND += "edgeprep_rootfs"

edgeprep_rootfs[doc] = "Unpacks over the image what edgeprep render writes"
edgeprep_rootfs() {
    if [ -z "${EDGEPREP_USER}" ]; then
        bbfatal "EDGEPREP_USER is not set: the user whose containers shall run"
    fi
    if ! grep -q "^${EDGEPREP_USER}:[^:]*:${EDGEPREP_UID}:" ${IMAGE_ROOTFS}${sysconfdir}/passwd; then
        bbfatal "no user ${EDGEPREP_USER} with the UID ${EDGEPREP_UID} is in passwd of the image"
    fi
    code=0
    # It ends with 1 where something that is required cannot be in files, and says what.
    edgeprep render --format tar --output ${WORKDIR}/edgeprep.tar --user "${EDGEPREP_USER}" \
        --uid "${EDGEPREP_UID}" --stack "${EDGEPREP_STACKS}" --profile "${EDGEPREP_PROFILE}" \
        --layer "${EDGEPREP_LAYER}" --subids "${EDGEPREP_SUBIDS}" || code=$?
    if [ "$code" = 1 ] && [ "${EDGEPREP_ACCEPT_LEFT}" = 1 ]; then
        code=0
    fi
    if [ "$code" != 0 ]; then
        bbfatal "edgeprep render: exit code $code"
    fi
    tar -C ${IMAGE_ROOTFS} --numeric-owner --same-owner --keep-directory-symlink -xpf ${WORKDIR}/edgeprep.tar
}
