#!/bin/bash -e
# Runs on the build machine, where pi-gen sets ROOTFS_DIR, FIRST_USER_NAME and DISABLE_FIRST_BOOT_USER_RENAME. Not in
# the chroot: there /proc and /sys are those of the build machine.

export EDGEPREP_USER="${FIRST_USER_NAME}"

ignore=()
if [ "${DISABLE_FIRST_BOOT_USER_RENAME}" != "1" ]; then
    # The first boot gives the user another name, and does so only while no process of theirs runs: usermod(8). So
    # lingering, which goes by the name and starts their user manager, begins after that.
    ignore=(--ignore user-linger)
    install -v -m 644 files/edgeprep-linger.service "${ROOTFS_DIR}/usr/lib/systemd/system/"
    install -v -d "${ROOTFS_DIR}/etc/systemd/system/multi-user.target.wants"
    ln -sfn /usr/lib/systemd/system/edgeprep-linger.service \
        "${ROOTFS_DIR}/etc/systemd/system/multi-user.target.wants/edgeprep-linger.service"
fi

# There is no hardware here to tell the board by, and one image boots on several: each adds what it needs.
for profile in ${EDGEPREP_PROFILES:-rpi4 rpi5}; do
    code=0
    files/edgeprep fix --root "${ROOTFS_DIR}" --profile "${profile}" --no-journal --yes "${ignore[@]}" || code=$?
    case ${code} in
        0 | 4) ;; # all is well, or will be when the image has booted
        # 1: something required is missing, such as a package; 2: a wrong option or policy; 3: something required
        # could not be seen; 5 and 6: nothing, or not all, could be written.
        *) exit "${code}" ;;
    esac
done
