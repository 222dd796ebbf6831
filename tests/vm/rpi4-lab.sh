# Runs in the lab's Raspberry Pi 4, three times, without edgeprep: shows that the machine is what `lab --help` says.
#
#     tests/vm/lab run arm64 --rpi4 $(printf ' --script tests/vm/rpi4-lab.sh%.0s' 1 2 3)
#
# Holds when: the device tree names the board; the boot partition is FAT, at /boot/firmware; the kernel was given the
# words of the firmware and then those of cmdline.txt, with serial0 as the real console; there is no memory
# controller; after cgroup_enable=memory was written to cmdline.txt, and a boot, there is one and podman limits
# memory; and after it was taken out, and a boot, there is none. With --no-cgroup-enable: the kernel says that it
# does not know the word, and there is no controller on any boot.
. /share/guest-lib.sh
set -euo pipefail
file=/boot/firmware/cmdline.txt
kept=/var/tmp/rpi4-lab
boot=$(cat "$kept" 2>/dev/null || echo 1)
echo $((boot + 1)) >"$kept"
echo "boot $boot, $(uname -r): $(cat /proc/cmdline)"

[ "$(tr -d '\0' </proc/device-tree/model)" = 'Raspberry Pi 4 Model B Rev 1.4' ]
tr '\0' '\n' </proc/device-tree/compatible | diff - <(printf '%s\n' raspberrypi,4-model-b brcm,bcm2711 linux,dummy-virt)
[ "$(findmnt -no FSTYPE,SOURCE,LABEL /boot/firmware | xargs)" = 'vfat /dev/vdb bootfs' ]
words=$(sed 's/serial0/ttyAMA0/' "$file")
case $(cat /proc/cmdline) in
    *" cgroup_disable=memory "*" $words") ;;
    *) echo "not what $file has: $words"; exit 1 ;;
esac

memory() { grep -qw memory /sys/fs/cgroup/cgroup.controllers; }
unknown() { dmesg | grep 'Unknown kernel command line parameters.*cgroup_enable=memory'; }
without() {
    if memory; then echo 'there is a memory controller'; return 1; fi
    dmesg | grep 'cgroup: Disabling memory control group subsystem'
}
case $boot in
    1)
        without
        sed -i '1s/$/ cgroup_enable=memory/' "$file"
        ;;
    2)
        if [[ $(uname -r) = *-rpi-lab ]]; then
            memory
            dmesg | grep 'cgroup: Enabling memory control group subsystem'
            if unknown; then exit 1; fi
            wait_user_manager
            import_bb
            limit=$(as_user podman run --rm --memory 64m localhost/bb:1 cat /sys/fs/cgroup/memory.max)
            [ "$limit" = 67108864 ]
        else
            without
            unknown
        fi
        sed -i '1s/ cgroup_enable=memory$//' "$file"
        ;;
    *) without ;;
esac
