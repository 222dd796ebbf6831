# The manager of the user; one that starts from here on finds everything by itself.
user=@USER@ units='@UNITS@' controllers='@CONTROLLERS@' linger=@LINGER@
if uid=$(id -u "$user" 2>/dev/null); then
    if systemctl is-active --quiet "user@$uid.service"; then
        delegated() {
            given=$(cat "/sys/fs/cgroup/user.slice/user-$uid.slice/user@$uid.service/cgroup.controllers")
            for controller in $controllers; do
                case " $given " in *" $controller "*) ;; *) return 1 ;; esac
            done
        }
        if ! delegated; then
            # Starting anything in the slice brings the controllers there; the manager hands them on once it is
            # executed anew, which stops nothing.
            systemd-run --quiet --wait --collect --slice="user-$uid.slice" true || true
            systemctl --user -M "$user@" daemon-reexec || true
            delegated || echo "$controllers reach the user manager of $user with the next boot" >&2
        else
            systemctl --user -M "$user@" daemon-reload || true
        fi
        for unit in $units; do
            systemctl --user -M "$user@" --no-block start "$unit" || true
        done
    fi
    if [ -n "$linger" ]; then
        loginctl enable-linger "$user" || echo "$?: loginctl enable-linger $user" >&2
    fi
else
    echo "there is no user $user yet: what is for that user takes effect with the next boot" >&2
fi
