# Runs in a machine of tests/vm/lab: the package is installed, replaced by a newer one, removed, installed again, purged.
# shellcheck shell=bash disable=SC1091,SC2154 # the machine has it
. /share/vm/lib.sh

# Every path, with mode, owner and contents, but for what any package changes.
tree() {
    local skipped=(run/udev run/user run/systemd run/log run/mount var/log var/lib/dpkg var/lib/systemd var/cache)
    local prune=() path
    for path in "${skipped[@]}"; do prune+=(-path "$path" -prune -o); done
    cd /
    find etc usr var run home opt -xdev "${prune[@]}" -printf '%p %y %m %U:%G %l\n' | sort
    # Not of /usr, which takes minutes to read; what is new there is listed above.
    find etc var home opt -xdev "${prune[@]}" -type f -exec sha256sum {} + | sort -k2
}
state() { # of UNIT
    systemctl is-enabled "$1" 2>/dev/null || true
}
disabled() {
    local units=(edgeprep-check.service edgeprep-check.timer edgeprep-firstboot.service)
    systemctl list-unit-files --no-legend "${units[@]}" | awk '{ print $1, $2 }' | sort |
        diff - <(printf '%s\n' "${units[0]} static" "${units[2]} disabled" "${units[1]} disabled" | sort)
}
# The lab's image leaves manuals and documentation out of every package.
rm -f /etc/dpkg/dpkg.cfg.d/*mmdebstrap* /etc/dpkg/dpkg.cfg.d/*edgeprep*
sed -i '/path-exclude/d' /etc/dpkg/dpkg.cfg /etc/dpkg/dpkg.cfg.d/* 2>/dev/null || true

tree >/tmp/before
dpkg -i /share/packages/edgeprep_*-1_amd64.deb
disabled
[ "$(edgeprep --version)" = "$(dpkg-query -W -f 'edgeprep ${Version}' edgeprep | sed 's/-1$//')" ]
# As at the first boot of an image, where presets decide.
systemctl preset --quiet edgeprep-check.timer edgeprep-firstboot.service
disabled
bash -euc '. /usr/share/bash-completion/completions/edgeprep; complete -p edgeprep' >/dev/null
zcat /usr/share/man/man1/edgeprep-check.1.gz | grep -q '^.TH edgeprep-check 1'
say 'installed: disabled, also by presets'

# What is to outlive the rest.
edgeprep fix --yes --stack podman --user edge >/tmp/fix || [ $? -lt 5 ]
tree >/tmp/fixed
mkdir -p /etc/edgeprep
echo 'user = "edge"' >/etc/edgeprep/edgeprep.toml
systemctl enable --now --quiet edgeprep-check.timer
systemctl start edgeprep-check.service

dpkg -i /share/packages/edgeprep_*-2_amd64.deb
[ "$(state edgeprep-check.timer)" = enabled ]
systemctl is-active --quiet edgeprep-check.timer
[ "$(state edgeprep-firstboot.service)" = disabled ]
[ -e /run/edgeprep/report.json ]
[ "$(cat /etc/edgeprep/edgeprep.toml)" = 'user = "edge"' ]
edgeprep history | grep -q podman
say 'upgraded: what was enabled is, state and site file are kept'

dpkg --remove edgeprep
for path in /usr/bin/edgeprep /run/edgeprep /run/motd.d/edgeprep; do
    if [ -e $path ]; then die "$path is left"; fi
done
if systemctl is-active --quiet edgeprep-check.timer; then die 'the timer still runs'; fi
[ -n "$(ls /var/lib/edgeprep)" ] || die 'the journals are gone'
say 'removed: nothing runs, the journals are kept'

dpkg -i /share/packages/edgeprep_*-2_amd64.deb
[ "$(state edgeprep-check.timer)" = enabled ] || die "after a reinstallation: $(state edgeprep-check.timer)"
[ "$(state edgeprep-firstboot.service)" = disabled ]
edgeprep history | grep -q podman

dpkg --purge edgeprep 2>&1 | tee /tmp/purged
grep -q 'can no longer be undone' /tmp/purged
rm -r /etc/edgeprep
tree >/tmp/after
# /usr is as before the package, the rest as the fix left it, but for the journals.
diff <(grep '^usr/' /tmp/before) <(grep '^usr/' /tmp/after) || die 'something else is in /usr'
rest() { grep -vE '^(usr/|run/motd\.d |run/edgeprep\.lock |([0-9a-f]{64}  )?var/lib/edgeprep)' "$1"; }
diff <(rest /tmp/fixed) <(rest /tmp/after) || die 'the purge left or took something'
if find / -xdev -name '*edgeprep*' -not -path '/proc/*' -not -path '/share/*' -not -path '/tmp/*' \
    -not -path /run/edgeprep.lock -not -name 'edgeprep-lab*' | grep .; then die 'left behind'; fi
say 'purged: what the fix wrote is left, and nothing else:'
{ diff /tmp/before /tmp/after || true; } | sed -nE 's|^> ([^ ]*/[^ ]*) .*|   \1|p'
