# What a unit of the user manager can raise its limit of open files to.
[ "$(as_unit -p LimitNOFILE=infinity sh -c "ulimit -n")" -ge 65536 ]
