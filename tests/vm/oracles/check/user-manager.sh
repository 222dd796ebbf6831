# A limit is not only accepted.
options=(--memory 64m)
[ "$(run cat /sys/fs/cgroup/memory.max)" = 67108864 ]
