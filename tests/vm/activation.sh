# Runs in a lab machine with the program of tests/vm/activate.rs as /share/activate: proves on this systemd
# what src/apply/activation.rs says. A lingering user with a running service gets all five controllers;
# nothing that runs is ended by any of it, and nothing of it stays behind.
. /share/guest-lib.sh
set -eu
systemctl --version | head -1
activate=/share/activate
user='"user":{"name":"edge","uid":1000,"gid":1000,"groups":[1000],"home":"/home/edge"}'
five='"cpu","cpuset","io","memory","pids"'
cgroup=/sys/fs/cgroup/user.slice/user-1000.slice/user@1000.service
fail() { echo "FAILED: $*"; exit 1; }
# Carries out what $2 says with $1, and wants this output.
does() {
    local started=${EPOCHREALTIME/./} said code=0
    said=$($activate "$1" "{$2}" 2>&1) || code=$?
    echo "$1 $2: $said ($(( (${EPOCHREALTIME/./} - started) / 1000 )) ms)"
    [[ $said == $3 ]] || fail "not $3"
}
# What must outlive everything.
running() {
    systemctl show -p MainPID --value user@1000.service
    as_user systemctl --user show -p MainPID,ActiveState --value work.service
    systemctl show -p MainPID --value session.service
    logins
    ls /var/lib/systemd/linger
}
# What a unit with Delegate=yes gets; $1 is its name.
delegated() {
    as_user systemd-run --quiet --user --unit "$1" -p Delegate=yes sleep 1000
    tr ' ' '\n' <"/sys/fs/cgroup/$(as_user systemctl --user show -p ControlGroup --value "$1")/cgroup.controllers" |
        sort | xargs
}

# Lingering, from nothing.
[ ! -S /run/user/1000/bus ]
does activate '"do":"linger","user":"edge","uid":1000' 'Yes'
[ -S /run/user/1000/bus ]
[ -e /var/lib/systemd/linger/edge ]
as_user systemd-run --quiet --user --unit work sleep 1000
# A login, as on a console.
systemd-run --quiet --unit session -p PAMName=login -p User=edge sleep 1000
# The user manager itself is a session to newer versions.
logins() { loginctl list-sessions --no-legend | awk '$2 == 1000 && !/manager/ { print $1 }'; }
for ((tries = 0; tries < 100 && $(logins | wc -l) == 0; tries++)); do sleep 0.2; done
[ "$(logins | wc -l)" = 1 ] || { loginctl list-sessions; systemctl status session; fail 'no login'; }
running >/tmp/before
cat /tmp/before

# Delegation. Without the drop-in it says what is missing, and why.
does activate '"do":"delegation",'"$user"',"controllers":['"$five"']' 'Not*cpuset, io*restart user@1000.service*'
mkdir -p /etc/systemd/system/user@.service.d
printf '[Service]\nDelegate=cpu cpuset io memory pids\n' >/etc/systemd/system/user@.service.d/delegate.conf
[ "$(delegated early)" = 'cpu memory pids' ]
does activate '"do":"reload"' 'Yes'
echo "after the reload: $(cat $cgroup/cgroup.controllers)"
does activate '"do":"delegation",'"$user"',"controllers":['"$five"']' 'Yes'
echo "after the delegation: $(cat $cgroup/cgroup.controllers)"
[ "$(tr ' ' '\n' <$cgroup/cgroup.controllers | sort | xargs)" = 'cpu cpuset io memory pids' ]
[ "$(delegated late)" = 'cpu cpuset io memory pids' ] || fail 'a unit with Delegate=yes does not get all'
does activate '"do":"delegation",'"$user"',"controllers":['"$five"']' 'Yes'
as_user systemctl --user stop early late
does activate '"do":"delegation",'"$user"',"controllers":["cpu","hugetlb"]' 'Not*hugetlb*'

# The rest.
mkdir -p /run/user/1000/systemd/user
printf '[Service]\nExecStart=sleep 1000\n' >/run/user/1000/systemd/user/more.service
does activate '"do":"user-reload",'"$user" 'Yes'
does activate '"do":"user-start",'"$user"',"unit":"more.service"' 'Yes'
as_user systemctl --user is-active more.service
does revert '"do":"user-start",'"$user"',"unit":"more.service"' 'Yes'
as_user systemctl --user is-active more.service && fail 'still runs'
does activate '"do":"user-start",'"$user"',"unit":"nothing.service"' '*there is no unit nothing.service'
does activate '"do":"reload-logind"' 'Yes'
does activate '"do":"load-modules","names":["dummy"]' 'Yes'
echo dummy >/etc/modules-load.d/test.conf
does activate '"do":"load-modules","names":["dummy"]' 'Yes'
grep -q '^dummy ' /proc/modules
rm /etc/modules-load.d/test.conf
does revert '"do":"load-modules","names":["dummy"]' 'Not*'
does activate '"do":"reload-app-armor"' '*there is no unit apparmor.service'
does activate '"do":"sysctl","key":"net.ipv4.ping_group_range","value":"0 2147483647","before":"1 0"' 'Yes'
[ "$(sysctl -n net.ipv4.ping_group_range)" = $'0\t2147483647' ]
does revert '"do":"sysctl","key":"net.ipv4.ping_group_range","value":"0 2147483647","before":"1 0"' 'Yes'
[ "$(sysctl -n net.ipv4.ping_group_range)" = $'1\t0' ]
does activate '"do":"sysctl","key":"net.nothing","value":"1","before":null' 'Not*No such file*'
does activate '"do":"sysctl","key":"kernel.pid_max","value":"none","before":null' 'Not*Invalid argument*'
does activate '"do":"device-mode","path":"/dev/null","mode":438,"before":438' 'Yes'
[ "$(stat -c %a /dev/null)" = 666 ]
touch /tmp/file && chmod 600 /tmp/file && ln -s /dev/null /tmp/link
does activate '"do":"device-mode","path":"/tmp/file","mode":511,"before":384' 'Not*is not a character device*'
does activate '"do":"device-mode","path":"/tmp/link","mode":511,"before":384' 'Not*is not a character device*'
[ "$(stat -c %a /tmp/file /dev/null | xargs)" = '600 666' ]

# Nothing that ran is gone, and nothing stays behind.
running | diff /tmp/before -
for left in /run/systemd/transient/*edgeprep* /run/systemd/system.control /run/user/1000/systemd/transient/*edgeprep* \
    $cgroup/edgeprep.slice $cgroup/../user-1000-edgeprep.slice; do
    [ ! -e "$left" ] || fail "left behind: $left"
done
left=$(systemctl list-units --all --no-legend '*edgeprep.slice'; as_user systemctl --user list-units --all --no-legend '*edgeprep.slice')
[ -z "$left" ] || fail "left behind: $left"

# Without root.
as_plain_user=(setpriv --reuid 1000 --regid 1000 --init-groups)
activate="${as_plain_user[*]} /share/activate"
does activate '"do":"reload"' '*is not permitted: it takes root*'
activate=/share/activate

# A restart that is asked for ends the service.
does activate '"do":"restart-user-manager",'"$user" 'Yes'
as_user systemctl --user is-active work.service && fail 'still runs'
systemctl stop session
does revert '"do":"linger","user":"edge","uid":1000' 'Yes'
[ ! -e /var/lib/systemd/linger/edge ]
systemctl stop dbus.socket dbus.service || true
does activate '"do":"reload"' '*cannot reach the bus at unix:path=/run/dbus/system_bus_socket*'
echo PASSED
