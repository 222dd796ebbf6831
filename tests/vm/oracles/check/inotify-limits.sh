# Each of many programs of a user watches a file.
rm -f /tmp/tail
as_user bash -c '
    for ((i = 0; i < 200; i++)); do tail -f /etc/passwd >/dev/null 2>>/tmp/tail & done
    sleep 3
    watching=$(jobs -rp | wc -l)
    kill $(jobs -p)
    [ "$watching" = 200 ] || { echo "$watching of 200 programs run"; exit 1; }' || exit
[ -f /tmp/tail ] || exit
! grep "cannot be used" /tmp/tail
