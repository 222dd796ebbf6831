# A process in a user namespace of its own is given IDs.
as_user bash -c '
    unshare --user sleep 100 &
    until [ "$(cat /proc/$!/comm)" = sleep ]; do sleep 0.1; done
    newuidmap $! 0 100000 65536 && newgidmap $! 0 100000 65536'
